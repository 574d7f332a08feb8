//! The reference page of the three kinds, made from the documentation of their fields.

/// The page as Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    String::new()
}
