//! Parsers and writers of every payload: what is written reads back the same, nothing a peer sends can do more than
//! return an error, and each rule of the format has a message that breaks only it.

mod arbitrary;
mod limits;
mod malformed;
mod policies;
mod strategies;
