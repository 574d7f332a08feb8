//! The custom resources of `getvpn.dev`: their Rust types, the CRD manifests made from them, and a
//! reader for the YAML that users write.
//!
//! The types decide everything else. [`generate()`] turns them into manifests for the API server, [`check`] applies the
//! same schema and the same CEL rules without an API server, [`load()`] reads files through these checks, and
//! [`reference_markdown()`] turns the field documentation into a page.

// The derive for schemas repeats each type, with its visibility, inside a function.
#![allow(unreachable_pub)]

pub mod check;
mod generate;
mod kind;
pub mod load;
mod reference;
pub mod v1alpha1;

pub use generate::{generate, manifest};
pub use kind::Kind;
pub use load::{LoadErrors, Manifests, load};
pub use reference::reference_markdown;

/// API group of all kinds; also the prefix of our labels, annotations and finalizers.
pub const GROUP: &str = "getvpn.dev";

/// The one version there is so far.
pub const VERSION: &str = "v1alpha1";
