//! Other products' configurations as our resources.

pub mod cisco_ios;
mod yaml;
