//! Commands on a cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cluster::table::Output;

/// Which cluster and namespace, in kubectl's words.
#[derive(Args, Clone, Debug)]
pub struct ClusterArguments {
    /// Context of the kubeconfig; its current one when absent
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace; that of the context when absent
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// All namespaces, for lists
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Commands on a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show everything of a group on one page: conditions, keys, key servers, members
    #[command(after_help = "Example:\n  kubectl getvpn status wan -n branches")]
    Status {
        /// The group
        group: String,
    },
    /// List groups
    #[command(visible_alias = "group")]
    Groups {
        /// The group; all when absent
        group: Option<String>,
    },
    /// List key servers with their roles, as `show crypto gdoi ks coop` does
    #[command(visible_aliases = ["ks", "coop"])]
    Keyservers {
        /// The group; all when absent
        group: Option<String>,
    },
    /// List registered members, as `show crypto gdoi ks members` does
    #[command(visible_aliases = ["gm", "member-list"])]
    Members {
        /// The group; all when absent
        group: Option<String>,
    },
    /// List traffic keys without the keys, as `show crypto gdoi ks policy` does
    #[command(visible_alias = "tek")]
    Sa {
        /// The group; all when absent
        group: Option<String>,
    },
    /// Rekey a group now, as `crypto gdoi ks rekey` does
    #[command(
        after_help = "Examples:\n  kubectl getvpn rekey wan                the staged key becomes current now\n  kubectl getvpn rekey wan --replace      all keys are replaced, old ones are deleted"
    )]
    Rekey {
        /// The group
        group: String,
        /// Replace the staged keys as well and delete all old ones, as `replace-now` does
        #[arg(long)]
        replace: bool,
        /// Make a new key encryption key too
        #[arg(long)]
        key_encryption_key: bool,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Evict a member: it can open nothing new, and may not register until it is admitted
    #[command(after_help = "Example:\n  kubectl getvpn evict wan FQDN:web-0.shop.member.getvpn")]
    Evict {
        /// The group
        group: String,
        /// Identity or registration ID, as `members` lists them
        member: String,
    },
    /// Let an evicted member register again
    Admit {
        /// The group
        group: String,
        /// Identity, as `members` listed it
        member: String,
    },
    /// Show what a member encrypts and with which keys, as `show crypto gdoi gm` does
    EncryptStatus {
        /// Pod with a sidecar
        pod: String,
    },
    /// Connect members of a group with each other, and compare their counters: was everything encrypted?
    #[command(
        after_help = "Every member sends to every other one, through its sidecar. Exit code 3 when an answer is missing, when an answer\ncame unencrypted, or when protected packets were met in clear. What passes members by, for example a mirror port, is\nnot seen here."
    )]
    ConnectivityTest {
        /// The group
        group: String,
        /// At most so many members, chosen by name
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=64))]
        members: u16,
    },
    /// Find what is wrong in a namespace, and say what to do; exit code 3 when something is
    Diagnose,
    /// Write everything that support needs into one file, without any secret
    Sysdump {
        /// The file
        #[arg(short, long, default_value = "getvpn-sysdump.tar.gz")]
        file: PathBuf,
    },
    /// Show the end of the logs of a group's key servers, or of a member
    Logs {
        /// The group, or a pod with a sidecar
        name: String,
        /// Lines of each
        #[arg(long, default_value_t = 40)]
        tail: i64,
    },
    /// The key that signs the rekeys of a group
    #[command(subcommand)]
    Rsa(RsaCommand),
    /// Members outside of pods
    #[command(subcommand)]
    Member(MemberCommand),
}

/// Commands of `rsa`.
#[derive(Debug, Subcommand)]
pub enum RsaCommand {
    /// Show label, algorithm and fingerprint
    Show {
        /// The group
        group: String,
    },
    /// Export it, encrypted under a passphrase that is asked for or read from standard input
    #[command(after_help = "Example:\n  kubectl getvpn rsa export wan > wan-signing-key.pem")]
    Export {
        /// The group
        group: String,
    },
    /// Replace it by a new one: the present key signs the rekey that tells the members, and is then gone
    #[command(after_help = "Example:\n  kubectl getvpn rsa rotate wan")]
    Rotate {
        /// The group
        group: String,
        /// Label of the new key; without it the present label with the next number
        #[arg(long)]
        label: Option<String>,
    },
    /// Import one that was exported, from a file; the passphrase is asked for or read from standard input
    Import {
        /// The group
        group: String,
        /// PEM file of an encrypted PKCS#8 key
        #[arg(short, long)]
        file: PathBuf,
        /// Label of the key
        #[arg(long)]
        label: String,
        /// Approve that another key of the group is replaced
        #[arg(long)]
        overwrite: bool,
    },
}

/// Commands of `member`.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Write the configuration file of a gateway or VM for a GroupMember without a pod selector
    #[command(
        after_help = "Example:\n  kubectl getvpn member config branch-gateway > /etc/getvpn/gm.yaml"
    )]
    Config {
        /// The GroupMember
        name: String,
    },
}
