//! Load on real key servers: how many registrations a second, and how long a rekey takes to all members.
//!
//! ```text
//! getvpn-load registrations --members 8000
//! getvpn-load registrations --members 8000 --start 3 --authentication certificate
//! getvpn-load rekey --members 8000
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use e2e::load::credentials::{self, Method};
use e2e::load::registrations::Foreign;
use e2e::load::servers::Terms;
use e2e::load::{registrations, rekey};
use gikev2::exchange::proposal::KeyExchangeChoice;
use runtime::shutdown::Shutdown;

/// Measures key servers under the load of simulated members.
#[derive(Parser)]
#[command(
    after_help = "Members and key servers share this machine's processors: a rate holds for both ends together.\n\nExit codes: 0 every member registered and was rekeyed, 1 error, 2 usage, 3 some were not."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Let members register and leave
    #[command(
        after_help = "Examples:\n  getvpn-load registrations --members 8000\n  getvpn-load registrations --members 8000 --start 3 --authentication certificate\n  getvpn-load registrations --key-server 192.0.2.1:848 --pre-shared-keys psk.yaml --group 1234"
    )]
    Registrations {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        foreign: ForeignArguments,
    },
    /// Let members register, then rekey the group
    #[command(
        after_help = "Examples:\n  getvpn-load rekey --members 8000\n  getvpn-load rekey --members 10000 --rekeys 60 --every 1000"
    )]
    Rekey {
        #[command(flatten)]
        load: Load,
        /// Rekeys, one after the other
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rekeys: u32,
        /// Milliseconds from one to the next
        #[arg(long, default_value_t = 1000)]
        every: u64,
        /// Members a rekey is sent to at a time, as in the group's policy
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        batch_size: Option<u32>,
        /// Milliseconds until a rekey is sent again, as in the group's policy
        #[arg(long)]
        acknowledgement_timeout: Option<u64>,
    },
}

#[derive(Args)]
struct Load {
    /// Members
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    members: u32,
    /// Key servers to start for this run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    start: u8,
    /// How members prove who they are
    #[arg(long, value_enum, default_value_t = Authentication::Psk)]
    authentication: Authentication,
    /// Key exchange that members offer
    #[arg(long, value_enum, default_value_t = KeyExchange::Hybrid)]
    key_exchange: KeyExchange,
    /// Members that register at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    parallel: u32,
    /// Seconds that all registrations, and each rekey, may take
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    limit: u64,
    /// Directory with the program `keyserver`; this program's own when absent
    #[arg(long, env = "GETVPN_BIN_DIR")]
    programs: Option<PathBuf>,
    /// Wait for the end of the IKE SAs and tell the memory then
    #[arg(long)]
    idle: bool,
}

#[derive(Args)]
struct ForeignArguments {
    /// Use a key server that runs already, at this address; may be repeated
    #[arg(long = "key-server", requires = "pre_shared_keys")]
    key_servers: Vec<SocketAddr>,
    /// The key servers' file with pre-shared keys; its members m-0.member.getvpn, m-1.member.getvpn … are simulated
    #[arg(long, requires = "key_servers")]
    pre_shared_keys: Option<PathBuf>,
    /// Number of the group
    #[arg(long, default_value_t = e2e::load::GROUP_ID)]
    group: u32,
    /// Process id of a key server on this machine, to tell what it used; may be repeated
    #[arg(long = "process-id", requires = "key_servers")]
    process_ids: Vec<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Authentication {
    /// A pre-shared key for each member
    Psk,
    /// A certificate for each member: ECDSA on P-256
    Certificate,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyExchange {
    /// X25519 with ML-KEM-768
    Hybrid,
    /// X25519 alone
    X25519,
}

impl Load {
    fn plan(&self) -> Result<registrations::Plan> {
        let programs = match &self.programs {
            Some(programs) => programs.clone(),
            None => {
                let own = std::env::current_exe().context("this program's own path")?;
                own.parent().context("no directory")?.to_owned()
            }
        };
        Ok(registrations::Plan {
            members: usize::try_from(self.members)?,
            servers: usize::from(self.start),
            authentication: match self.authentication {
                Authentication::Psk => Method::PreSharedKey,
                Authentication::Certificate => Method::Certificate,
            },
            key_exchange: match self.key_exchange {
                KeyExchange::Hybrid => KeyExchangeChoice::X25519MlKem768,
                KeyExchange::X25519 => KeyExchangeChoice::X25519,
            },
            parallel: usize::try_from(self.parallel)?,
            limit: Duration::from_secs(self.limit),
            programs,
            idle: self.idle,
        })
    }
}

impl ForeignArguments {
    /// Key servers that run already, when some are named.
    fn key_servers(&self, members: usize) -> Result<Option<Foreign>> {
        let Some(path) = &self.pre_shared_keys else {
            return Ok(None);
        };
        let known = keyserver::config::pre_shared_keys(path)?;
        let mut keys = Vec::with_capacity(members);
        for index in 0..members {
            let name = credentials::member_name(index);
            let own = known.iter().find(|entry| entry.identity.value == name);
            let own = own.with_context(|| format!("{}: no key of {name}", path.display()))?;
            keys.push(own.key.to_vec());
        }
        Ok(Some(Foreign {
            addresses: self.key_servers.clone(),
            group_id: self.group,
            credentials: credentials::shared(&keys),
            ids: self.process_ids.clone(),
        }))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match interruptible(&arguments.command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the key servers on a signal too.
async fn interruptible(command: &Command) -> Result<bool> {
    let (_trigger, mut shutdown) = Shutdown::on_signals()?;
    tokio::select! {
        () = shutdown.wait() => bail!("interrupted"),
        result = run(command) => result,
    }
}

async fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Registrations { load, foreign } => {
            let plan = load.plan()?;
            let report = match foreign.key_servers(plan.members)? {
                Some(foreign) => {
                    ensure!(
                        plan.authentication == Method::PreSharedKey,
                        "with --key-server members use pre-shared keys"
                    );
                    registrations::run_at(&plan, foreign).await?
                }
                None => registrations::run(&plan).await?,
            };
            print!("{report}");
            Ok(report.is_clean())
        }
        Command::Rekey {
            load,
            rekeys,
            every,
            batch_size,
            acknowledgement_timeout,
        } => {
            let mut terms = Terms::default();
            terms.batch_size = batch_size.unwrap_or(terms.batch_size);
            if let Some(milliseconds) = acknowledgement_timeout {
                terms.acknowledgement_timeout = Duration::from_millis(*milliseconds);
            }
            let plan = rekey::Plan {
                registrations: load.plan()?,
                terms,
                rekeys: usize::try_from(*rekeys)?,
                every: Duration::from_millis(*every),
            };
            let report = rekey::run(&plan, |number, told| {
                println!("rekey {:<4}          {told}", number + 1);
            })
            .await?;
            print!("{}", report.registrations);
            Ok(report.is_clean())
        }
    }
}
