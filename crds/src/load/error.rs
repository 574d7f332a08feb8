//! What can be wrong with a file, and the words for it.

use std::fmt;

use crate::kind::Kind;
use crate::{GROUP, VERSION};

/// Everything that is wrong with a file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// File, as named by the caller.
    pub file: String,
    /// Line in the file, from 1, where it is known.
    pub line: Option<u64>,
    /// Document in the file, from 1; none when the file as a whole is meant.
    pub document: Option<usize>,
    /// Kind and name of the object, as far as they could be read: `GroupMember web`.
    pub object: Option<String>,
    /// Field, such as `spec.rules[0].source`; empty for the document as a whole.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is no YAML.
    #[error("malformed YAML: {0}")]
    Malformed(String),
    /// There is no document.
    #[error("contains no document; must contain at least one {}", kinds())]
    Empty,
    /// The document is a list or a bare value.
    #[error("must be an object with `apiVersion`, `kind`, `metadata` and `spec`")]
    NotAnObject,
    /// The API version is not ours.
    #[error("'{found}' is not supported; must be '{GROUP}/{VERSION}'")]
    UnknownVersion {
        /// What is written.
        found: String,
    },
    /// The kind is none of ours.
    #[error("'{found}' is not supported; must be one of {}", kinds())]
    UnknownKind {
        /// What is written.
        found: String,
    },
    /// An earlier document has the same kind and name.
    #[error("document {first} has the same kind and name")]
    Duplicate {
        /// Number of the earlier document.
        first: usize,
    },
    /// The schema or a rule forbids it.
    #[error("{0}")]
    Invalid(String),
}

fn kinds() -> String {
    Kind::ALL.map(|kind| format!("'{kind}'")).join(", ")
}

impl LoadError {
    /// An error about a file as a whole.
    pub(super) fn of_file(file: &str, line: Option<u64>, problem: Problem) -> Self {
        Self {
            file: file.to_owned(),
            line,
            document: None,
            object: None,
            field: String::new(),
            problem,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        match (self.document, &self.object) {
            (Some(number), Some(object)) => write!(f, "document {number} ({object}): ")?,
            (Some(number), None) => write!(f, "document {number}: ")?,
            (None, _) => {}
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for LoadError {}
