//! Manifests that are complete by themselves, made into templates of a chart.

use anyhow::{Result, bail};

/// What is added to every object of a manifest.
pub(crate) struct Wrapping<'a> {
    /// Where the manifest comes from, for the comment at the top.
    pub(crate) origin: &'a str,
    /// The condition under which the objects exist; always when `None`.
    pub(crate) condition: Option<&'a str>,
    /// Named template with the labels and annotations.
    pub(crate) metadata: &'a str,
}

/// The template for `manifest`, one or several YAML documents with a `metadata` of nothing but a name.
pub(crate) fn wrap(manifest: &str, wrapping: &Wrapping<'_>) -> Result<String> {
    if manifest.contains("{{") {
        bail!(
            "{}: `{{{{` would be taken for a template's action",
            wrapping.origin
        );
    }
    let mut text = format!(
        "{{{{- /* Generated from {} by `cargo xtask generate`. Do not edit. */}}}}\n",
        wrapping.origin
    );
    if let Some(condition) = wrapping.condition {
        text.push_str(&format!("{{{{- if {condition} }}}}\n"));
    }
    let mut documents = 0;
    let mut in_metadata = false;
    for line in manifest.lines() {
        if line.starts_with("# Generated") {
            continue;
        }
        text.push_str(line);
        text.push('\n');
        if line == "metadata:" {
            in_metadata = true;
        } else if in_metadata && line.starts_with("  name: ") {
            text.push_str(&format!(
                "  {{{{- include \"{}\" . | nindent 2 }}}}\n",
                wrapping.metadata
            ));
            in_metadata = false;
            documents += 1;
        } else if in_metadata {
            bail!(
                "{}: `metadata` has more than a name: `{line}`",
                wrapping.origin
            );
        }
    }
    if documents != manifest.lines().filter(|line| *line == "metadata:").count() || documents == 0 {
        bail!("{}: an object has no name", wrapping.origin);
    }
    if wrapping.condition.is_some() {
        text.push_str("{{- end }}\n");
    }
    Ok(text)
}

#[cfg(test)]
mod self_tests {
    use super::*;

    const WRAPPING: Wrapping<'_> = Wrapping {
        origin: "somewhere",
        condition: Some(".Values.on"),
        metadata: "labels",
    };

    #[test]
    fn every_object_gets_its_metadata_and_the_file_its_condition() {
        let manifest =
            "kind: A\nmetadata:\n  name: a\nspec: 1\n---\nkind: B\nmetadata:\n  name: b\n";
        let text = wrap(manifest, &WRAPPING).expect("a template");
        assert_eq!(text.matches("include \"labels\"").count(), 2);
        assert!(text.contains("{{- if .Values.on }}\nkind: A\n"), "{text}");
        assert!(text.ends_with("{{- end }}\n"), "{text}");
    }

    #[test]
    fn what_a_template_would_misread_is_refused() {
        assert!(wrap("metadata:\n  name: a\nx: '{{'\n", &WRAPPING).is_err());
        assert!(wrap("metadata:\n  labels: {}\n  name: a\n", &WRAPPING).is_err());
        assert!(wrap("kind: A\n", &WRAPPING).is_err());
    }
}
