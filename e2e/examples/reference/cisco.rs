//! The page for people who know GET VPN on Cisco routers.

use std::fmt::Write as _;

use kubectl_getvpn::cli::cisco::EQUIVALENTS;

/// The page.
pub(crate) fn page() -> String {
    let mut text = String::from(
        "<!-- Generated from the command line's definition by `cargo xtask generate`. Do not edit. -->\n\n\
         # Commands, by the names they have on Cisco routers\n\n\
         What is typed there on a router, is typed here where `kubectl` is.\n\n\
         | Cisco IOS | here | |\n|---|---|---|\n",
    );
    for known in EQUIVALENTS {
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} |",
            known.cisco, known.here, known.note
        );
    }
    text.push_str(
        "\nConfigurations of key servers and members become resources with \
         `kubectl getvpn import cisco-ios FILE`.\n",
    );
    text
}
