//! kubectl plugin of getvpn, and its lab on one machine.

fn main() {}
