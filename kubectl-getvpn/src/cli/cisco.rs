//! What people who know GET VPN on Cisco routers type, and what they type here.

/// A command of a router, and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivalent {
    /// On a router.
    pub cisco: &'static str,
    /// Here, with example arguments.
    pub here: &'static str,
    /// What is different.
    pub note: &'static str,
}

const fn row(cisco: &'static str, here: &'static str, note: &'static str) -> Equivalent {
    Equivalent { cisco, here, note }
}

/// Every command of the family, by what it is used for.
pub const EQUIVALENTS: &[Equivalent] = &[
    row(
        "show crypto gdoi",
        "kubectl getvpn status wan",
        "One view of the group; `groups`, `members` and `sa` hold the details.",
    ),
    row("show crypto gdoi ks", "kubectl getvpn groups wan", ""),
    row(
        "show crypto gdoi ks policy",
        "kubectl getvpn sa wan",
        "Keys are never shown.",
    ),
    row(
        "show crypto gdoi ks acl",
        "kubectl getvpn encrypt-status web-0",
        "As the member enforces it, local entries first.",
    ),
    row(
        "show crypto gdoi ks members",
        "kubectl getvpn members wan -o wide",
        "With the rekeys that each did not acknowledge.",
    ),
    row(
        "show crypto gdoi ks coop",
        "kubectl getvpn keyservers wan -o wide",
        "Roles come from Raft: its term and what was committed stand for timers and announcements.",
    ),
    row(
        "show crypto gdoi ks coop version",
        "kubectl getvpn keyservers wan -o wide",
        "",
    ),
    row(
        "show crypto gdoi ks identifier",
        "kubectl getvpn groups wan -o wide",
        "Sender-IDs used and left in this epoch.",
    ),
    row(
        "show crypto gdoi gm",
        "kubectl getvpn encrypt-status web-0",
        "",
    ),
    row(
        "show crypto gdoi gm rekey detail",
        "kubectl getvpn encrypt-status web-0 -o yaml",
        "",
    ),
    row(
        "show crypto gdoi ipsec sa",
        "kubectl getvpn encrypt-status web-0 -o wide",
        "",
    ),
    row(
        "show crypto gkm gm replay",
        "kubectl getvpn encrypt-status web-0 -o yaml",
        "Dropped packets by reason: `replayed`, `outside_time_window`.",
    ),
    row(
        "show crypto gdoi feature",
        "kubectl getvpn members wan -o wide",
        "Versions of members; a feature that a member lacks is a condition of the group.",
    ),
    row(
        "crypto gdoi ks rekey",
        "kubectl getvpn rekey wan --dry-run",
        "Without `--dry-run` it is done.",
    ),
    row(
        "crypto gdoi ks rekey replace-now",
        "kubectl getvpn rekey wan --replace",
        "",
    ),
    row(
        "clear crypto gdoi ks members",
        "kubectl getvpn evict wan FQDN:web-0.shop.member.getvpn",
        "One member at a time. For all, `rekey --replace` makes every old key void.",
    ),
    row(
        "crypto key generate rsa",
        "kubectl getvpn rsa rotate wan",
        "The first key is made without being asked.",
    ),
    row(
        "show crypto key mypubkey rsa",
        "kubectl getvpn rsa show wan",
        "",
    ),
    row("crypto key export rsa", "kubectl getvpn rsa export wan", ""),
    row(
        "crypto key import rsa",
        "kubectl getvpn rsa import wan --file wan.pem --label wan",
        "",
    ),
    row(
        "debug crypto gdoi",
        "kubectl getvpn logs wan",
        "Levels by the variable `RUST_LOG`; what support needs, by `kubectl getvpn sysdump`.",
    ),
];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Arguments;

    // GET VPN row 235
    #[test]
    fn every_command_of_the_family_has_an_equivalent_that_this_program_takes() {
        for Equivalent { cisco, here, .. } in EQUIVALENTS {
            let words = here.split(' ').skip(1);
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{cisco}: `{here}`: {:?}", parsed.err());
        }
        for family in [
            "show crypto gdoi",
            "show crypto gdoi ks",
            "show crypto gdoi ks policy",
            "show crypto gdoi ks members",
            "show crypto gdoi ks coop",
            "show crypto gdoi ks identifier",
            "show crypto gdoi gm",
            "show crypto gkm gm replay",
            "show crypto gdoi feature",
            "crypto gdoi ks rekey",
            "clear crypto gdoi ks members",
            "debug crypto gdoi",
        ] {
            assert!(
                EQUIVALENTS.iter().any(|known| known.cisco == family),
                "{family}: nothing here"
            );
        }
    }
}
