//! Types and client of the key server's admin API.
//!
//! The API is JSON over HTTP/1.1 with mutual TLS. Its paths are listed in [`path`]; bodies are the types of
//! [`policy`], [`status`] and [`request`]; every refusal carries an [`error::ErrorBody`].
//! The types alone do no input or output, so pure crates use them; the async client is behind the feature
//! `client`.

#[cfg(feature = "client")]
pub mod client;
pub mod error;
pub mod identity;
pub mod path;
pub mod policy;
pub mod request;
pub mod status;
