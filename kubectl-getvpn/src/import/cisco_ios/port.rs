//! Names of protocols and ports in access lists, as IOS prints them.

/// TCP.
pub(super) const TCP: u8 = 6;
/// UDP.
pub(super) const UDP: u8 = 17;

/// The number of a protocol; `Some(None)` for any.
pub(super) fn protocol(word: &str, ipv6: bool) -> Option<Option<u8>> {
    let number = match word.to_ascii_lowercase().as_str() {
        "ip" | "ipv6" => return Some(None),
        "icmp" if ipv6 => 58,
        "icmp" => 1,
        "igmp" => 2,
        "ipinip" => 4,
        "tcp" => TCP,
        "udp" => UDP,
        "gre" => 47,
        "esp" => 50,
        "ahp" => 51,
        "eigrp" => 88,
        "ospf" => 89,
        "nos" => 94,
        "pim" => 103,
        "pcp" => 108,
        "sctp" => 132,
        other => other.parse().ok().filter(|number| *number > 0)?,
    };
    Some(Some(number))
}

/// The number of a port.
pub(super) fn port(word: &str) -> Option<u16> {
    const NAMES: &[(&str, u16)] = &[
        ("bgp", 179),
        ("biff", 512),
        ("bootpc", 68),
        ("bootps", 67),
        ("chargen", 19),
        ("cmd", 514),
        ("daytime", 13),
        ("discard", 9),
        ("dnsix", 195),
        ("domain", 53),
        ("echo", 7),
        ("exec", 512),
        ("finger", 79),
        ("ftp", 21),
        ("ftp-data", 20),
        ("gdoi", 848),
        ("gopher", 70),
        ("hostname", 101),
        ("https", 443),
        ("ident", 113),
        ("irc", 194),
        ("isakmp", 500),
        ("klogin", 543),
        ("kshell", 544),
        ("login", 513),
        ("lpd", 515),
        ("mobile-ip", 434),
        ("msrpc", 135),
        ("nameserver", 42),
        ("netbios-dgm", 138),
        ("netbios-ns", 137),
        ("netbios-ss", 139),
        ("nntp", 119),
        ("non500-isakmp", 4500),
        ("ntp", 123),
        ("pim-auto-rp", 496),
        ("pop2", 109),
        ("pop3", 110),
        ("rip", 520),
        ("ripv6", 521),
        ("smtp", 25),
        ("snmp", 161),
        ("snmptrap", 162),
        ("ssh", 22),
        ("sunrpc", 111),
        ("syslog", 514),
        ("tacacs", 49),
        ("talk", 517),
        ("telnet", 23),
        ("tftp", 69),
        ("time", 37),
        ("uucp", 540),
        ("who", 513),
        ("whois", 43),
        ("www", 80),
        ("xdmcp", 177),
    ];
    let word = word.to_ascii_lowercase();
    word.parse().ok().or_else(|| {
        NAMES
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, number)| *number)
    })
}
