//! The GET VPN parts of Cisco IOS configurations as our three resources. Pure.
//!
//! [`convert()`] reads one or more configurations (`show running-config` of key servers and of group members) and gives
//! the resources as YAML, with a [`Note`] for everything that could not be carried over as it was. What it writes is
//! accepted by the API server; what the operator would not accept is said in a note.
//!
//! Where the choice is between more and less traffic in clear, less is chosen, and a note says so. Two of the lists of
//! IOS have other words than ours: in the list of a crypto map and in a fail-close list `permit` holds traffic back and
//! `deny` lets it go in clear.

mod address;
mod convert;
mod device;
mod entry;
mod note;
mod port;
mod read;
mod rule;
mod statement;

pub use note::{Note, Weight};

use super::yaml::{Node, plain};

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What notes call it, usually the file's name.
    pub name: &'a str,
    /// The configuration.
    pub text: &'a str,
}

/// What was made of configurations.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The resources: groups, then security associations, then members.
    pub(crate) objects: Vec<Node>,
    /// What was not carried over, was changed or deserves a look; by source and line.
    pub notes: Vec<Note>,
}

impl Import {
    /// The resources as YAML documents, with the notes as comments in front; empty when there is none.
    #[must_use]
    pub fn yaml(&self) -> String {
        if self.objects.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        if !self.notes.is_empty() {
            text.push_str("# Notes of the import, one for each thing that is not as it was:\n");
            for note in &self.notes {
                text.push_str(&format!("#   {}\n", plain(&note.to_string())));
            }
        }
        for object in &self.objects {
            text.push_str("---\n");
            text.push_str(&object.document());
        }
        text
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no GET VPN was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Converts configurations. Groups with the same identity in several of them are one group: a key server's
/// configuration gives its policy, those of members give a GroupMember each.
#[must_use]
pub fn convert(sources: &[Source<'_>]) -> Import {
    let mut notes = note::Notes::default();
    let devices: Vec<device::Device> = sources
        .iter()
        .map(|source| {
            notes.open(source.name);
            read::device(source, &mut notes)
        })
        .collect();
    let objects = convert::objects(&devices, &mut notes);
    let mut import = Import {
        objects,
        notes: notes.finish(),
    };
    import.notes.extend(convert::judged(&import));
    import
}
