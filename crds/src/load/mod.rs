//! Reads the YAML that users write: any number of documents, each one of our kinds.
//!
//! Every mistake is reported, each with file, line, document, kind and field. What passes here passes in a cluster, for it
//! is judged by [`crate::check`].

mod document;
mod error;

use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::check;
use crate::kind::Kind;
use crate::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use crate::{GROUP, VERSION};

use document::Document;
pub use error::{LoadError, LoadErrors, Problem};

/// The objects of one file, defaults filled in, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// The groups.
    pub groups: Vec<GetVpnGroup>,
    /// The security associations.
    pub security_associations: Vec<SecurityAssociation>,
    /// The members.
    pub members: Vec<GroupMember>,
}

impl Manifests {
    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len() + self.security_associations.len() + self.members.len()
    }

    /// Whether there is no object at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads all documents of a file. `file` is only used in messages.
///
/// # Errors
/// All mistakes in the file; malformed YAML hides the mistakes behind it.
pub fn load(file: &str, text: &str) -> Result<Manifests, LoadErrors> {
    let documents = document::read(file, text)?;
    let mut manifests = Manifests::default();
    let mut errors = Vec::new();
    let mut seen: Vec<(Kind, String, usize)> = Vec::new();
    for document in &documents {
        match accept(document, &mut manifests) {
            Ok((kind, name)) => {
                let earlier = seen
                    .iter()
                    .find(|(other, named, _)| *other == kind && *named == name);
                if let Some((_, _, first)) = earlier {
                    errors.push(document.error(
                        file,
                        "metadata.name",
                        Problem::Duplicate { first: *first },
                    ));
                }
                seen.push((kind, name, document.number));
            }
            Err(problems) => {
                errors.extend(
                    problems
                        .into_iter()
                        .map(|(field, problem)| document.error(file, &field, problem)),
                );
            }
        }
    }
    if documents.is_empty() {
        errors.push(LoadError::of_file(file, None, Problem::Empty));
    }
    if errors.is_empty() {
        Ok(manifests)
    } else {
        Err(LoadErrors(errors))
    }
}

/// Takes one document in; gives its kind and its name with its namespace.
fn accept(
    document: &Document,
    manifests: &mut Manifests,
) -> Result<(Kind, String), Vec<(String, Problem)>> {
    let one = |field: &str, problem| vec![(field.to_owned(), problem)];
    let value = &document.value;
    if !value.is_object() {
        return Err(one("", Problem::NotAnObject));
    }
    let version = text_of(value, "apiVersion").map_err(|problem| one("apiVersion", problem))?;
    let kind = text_of(value, "kind").map_err(|problem| one("kind", problem))?;
    let ours = format!("{GROUP}/{VERSION}");
    if version != ours {
        return Err(one(
            "apiVersion",
            Problem::UnknownVersion {
                found: version.to_owned(),
            },
        ));
    }
    let Some(kind) = Kind::from_name(kind) else {
        return Err(one(
            "kind",
            Problem::UnknownKind {
                found: kind.to_owned(),
            },
        ));
    };
    check::create(kind, value).map_err(|violations| {
        violations
            .into_iter()
            .map(|violation| (violation.field, Problem::Invalid(violation.message)))
            .collect::<Vec<_>>()
    })?;
    let object = check::with_defaults(kind, value);
    let typed = |error: serde_json::Error| one("", Problem::Invalid(error.to_string()));
    let (name, namespace) = match kind {
        Kind::GetVpnGroup => push(&mut manifests.groups, object).map_err(typed)?,
        Kind::SecurityAssociation => {
            push(&mut manifests.security_associations, object).map_err(typed)?
        }
        Kind::GroupMember => push(&mut manifests.members, object).map_err(typed)?,
    };
    Ok((
        kind,
        format!("{}/{name}", namespace.as_deref().unwrap_or("default")),
    ))
}

fn push<T: DeserializeOwned + ResourceExt>(
    list: &mut Vec<T>,
    object: Value,
) -> Result<(String, Option<String>), serde_json::Error> {
    let object: T = serde_json::from_value(object)?;
    let names = (object.name_any(), object.namespace());
    list.push(object);
    Ok(names)
}

fn text_of<'a>(value: &'a Value, field: &str) -> Result<&'a str, Problem> {
    match value.get(field) {
        None => Err(Problem::Invalid("is required".to_owned())),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::Invalid("must be a string".to_owned())),
    }
}
