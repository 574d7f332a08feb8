//! What the reader of an import must know.

use std::fmt;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It works the same way; a name or the place of a setting is another one.
    Hint,
    /// It works in another way than before.
    Changed,
    /// It is not in the result.
    Lost,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hint => "hint",
            Self::Changed => "changed",
            Self::Lost => "lost",
        })
    }
}

/// One thing that is not as it was, and why. It never repeats a key or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name of the source.
    pub source: String,
    /// Line in it; 0 for the source as a whole.
    pub line: usize,
    /// How much it matters.
    pub weight: Weight,
    /// What, why, and what to do.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}: {}", self.weight, self.message)
    }
}

/// Most notes that are kept of one import.
const MOST: usize = 5_000;

/// Notes under way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    sources: Vec<String>,
    all: Vec<(usize, Note)>,
}

impl Notes {
    /// Notes that follow are about this source.
    pub(super) fn open(&mut self, source: &str) {
        self.sources.push(one_line(source));
    }

    /// Number of the source that is read now.
    pub(super) fn current(&self) -> usize {
        self.sources.len().saturating_sub(1)
    }

    /// Adds a note about a line of a source.
    pub(super) fn add(
        &mut self,
        source: usize,
        line: usize,
        weight: Weight,
        message: impl AsRef<str>,
    ) {
        if self.all.len() >= MOST {
            return;
        }
        let name = self.sources.get(source).cloned().unwrap_or_default();
        let note = Note {
            source: name,
            line,
            weight,
            message: one_line(message.as_ref()),
        };
        let known = self.all.iter().any(|(_, other)| *other == note);
        if !known {
            self.all.push((source, note));
        }
    }

    /// All notes, by source and line.
    pub(super) fn finish(mut self) -> Vec<Note> {
        self.all.sort_by_key(|(source, note)| (*source, note.line));
        self.all.into_iter().map(|(_, note)| note).collect()
    }
}

/// A note is one line, whatever was in the configuration.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
