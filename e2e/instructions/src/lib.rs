//! Work whose cost is counted in instructions: the same number on a busy machine as on an idle one.
//!
//! `cargo xtask instructions` runs each [`Case`] under callgrind with two numbers of repetitions and
//! divides the difference by what was done, so nothing of the preparation is in the figure. The cipher of
//! the packet cases does nothing ([`packet_path::NoCipher`]): what is counted is our own work, the library's
//! work depends on the processor that valgrind imitates.

pub mod messages;
pub mod packet_path;

/// Something that can be done again and again.
pub struct Case {
    /// Its name on the command line and in the table of figures.
    pub name: &'static str,
    /// What the figure counts.
    pub unit: &'static str,
    /// How many units one call does.
    pub units: u64,
    /// Prepares, and answers what does it once.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All cases, in the order of the table.
pub fn cases() -> Vec<Case> {
    let mut cases = packet_path::cases();
    cases.extend(messages::cases());
    cases
}
