//! Checks, generators, tests and the demo of this workspace.

fn main() {}
