//! Cooperative key server of a GET VPN group.

fn main() {}
