//! Group member: encrypts the traffic of a pod, gateway or VM.

fn main() {}
