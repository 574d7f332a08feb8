//! Names that Kubernetes takes.

use std::collections::BTreeSet;

/// Names given out so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    used: BTreeSet<String>,
}

impl Names {
    /// A name like `wanted` that nothing else has: lower-case letters, digits and `-`, a letter first, at most `longest`
    /// characters.
    pub(super) fn unique(&mut self, wanted: &str, longest: usize) -> String {
        let base = name(wanted);
        let mut candidate = shortened(&base, longest);
        let mut number = 2_u32;
        while !self.used.insert(candidate.clone()) {
            let suffix = format!("-{number}");
            let room = longest.saturating_sub(suffix.len());
            candidate = format!("{}{suffix}", shortened(&base, room));
            number = number.saturating_add(1);
        }
        candidate
    }
}

/// The nearest name of letters, digits and `-` that begins with a letter.
pub(super) fn name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
    }
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_owned()
    } else if name.is_empty() {
        "imported".to_owned()
    } else {
        format!("g-{name}")
    }
}

fn shortened(name: &str, longest: usize) -> String {
    let cut: String = name.chars().take(longest).collect();
    cut.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_kubernetes_and_stay_apart() {
        let mut names = Names::default();
        assert_eq!(names.unique("GDOI_Group 1", 49), "gdoi-group-1");
        assert_eq!(names.unique("gdoi-group-1", 49), "gdoi-group-1-2");
        assert_eq!(names.unique("101", 49), "g-101");
        assert_eq!(names.unique("***", 49), "imported");
        assert_eq!(names.unique(&"x".repeat(80), 49).len(), 49);
        assert_eq!(names.unique(&"x".repeat(80), 49).len(), 49);
    }
}
