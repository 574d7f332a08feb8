//! The packet path from TUN to wire and back, held against independent ciphers, plainly built
//! packets and the reference values; and against input that means harm.

mod cipher;
mod hostile;
mod many;
mod packet;
mod receiving;
mod reference;
mod segments;
mod sending;
mod sizes;
mod world;
