//! Writes the operator's roles as a template of the Helm chart, and the page that explains them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use operator_core::rbac::{RULES, Rule, Scope};

const ORIGIN: &str = "operator/core/src/rbac.rs by `cargo xtask generate`. Do not edit.";

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::write(
        root.join("charts/getvpn/templates/rbac/operator.yaml"),
        template(),
    )?;
    fs::write(root.join("docs/reference/rbac.md"), page())
}

/// One role with its binding.
struct Role<'a> {
    cluster: bool,
    name: &'a str,
    /// Template expression of the namespace; only for a Role.
    namespace: &'a str,
    /// Name of the variable that holds the chart's root.
    root: &'a str,
    rules: String,
}

fn template() -> String {
    let everywhere = format!(
        "{}  {{{{- if not .Values.watchNamespaces }}}}\n{}{}  {{{{- end }}}}\n",
        rules(Scope::Cluster),
        rules(Scope::AllNamespaces),
        rules(Scope::Watched)
    );
    let mut text =
        format!("{{{{- /* Generated from {ORIGIN} */}}}}\n{{{{- if .Values.rbac.create }}}}\n");
    text.push_str(&role(&Role {
        cluster: true,
        name: "getvpn-operator",
        namespace: "",
        root: ".",
        rules: everywhere,
    }));
    text.push_str("---\n");
    text.push_str(&role(&Role {
        cluster: false,
        name: "getvpn-operator",
        namespace: ".Release.Namespace",
        root: ".",
        rules: rules(Scope::Own),
    }));
    text.push_str("{{- range .Values.watchNamespaces }}\n---\n");
    text.push_str(&role(&Role {
        cluster: false,
        name: "getvpn-operator-groups",
        namespace: ".",
        root: "$",
        rules: rules(Scope::Watched),
    }));
    text.push_str("{{- end }}\n{{- end }}\n");
    text
}

fn role(role: &Role<'_>) -> String {
    let kind = if role.cluster { "ClusterRole" } else { "Role" };
    let mut metadata = format!("metadata:\n  name: {}\n", role.name);
    if !role.cluster {
        let _ = writeln!(metadata, "  namespace: {{{{ {} }}}}", role.namespace);
    }
    let root = role.root;
    let _ = writeln!(
        metadata,
        "  {{{{- include \"getvpn.metadata\" {root} | nindent 2 }}}}"
    );
    let account = format!("{{{{ include \"getvpn.serviceAccountName\" {root} }}}}");
    let release = if root == "$" { "$.Release" } else { ".Release" };
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{metadata}rules:\n{rules}---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n{metadata}\
         roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {name}\n\
         subjects:\n  - kind: ServiceAccount\n    name: {account}\n    namespace: {{{{ {release}.Namespace }}}}\n",
        rules = role.rules,
        name = role.name,
    )
}

fn rules(scope: Scope) -> String {
    let mut text = String::new();
    for rule in RULES.iter().filter(|rule| rule.scope == scope) {
        let _ = writeln!(text, "  # {}.", capital(rule.reason));
        let _ = writeln!(text, "  - apiGroups:\n      - {}", quoted(rule.group));
        list(&mut text, "resources", rule.resources);
        if !rule.names.is_empty() {
            list(&mut text, "resourceNames", rule.names);
        }
        list(&mut text, "verbs", rule.verbs);
    }
    text
}

fn list(text: &mut String, field: &str, words: &[&str]) {
    let _ = writeln!(text, "    {field}:");
    for word in words {
        let _ = writeln!(text, "      - {}", quoted(word));
    }
}

fn quoted(word: &str) -> String {
    if word.is_empty() {
        "\"\"".to_owned()
    } else {
        word.to_owned()
    }
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn page() -> String {
    let mut text = format!(
        "<!-- Generated from {ORIGIN} -->\n\n# Rights of the operator\n\n\
         Everything the operator may do, and why. The Helm chart and the Kustomize base make their roles from this \
         table.\n\n\
         With `watchNamespaces` in the chart's values, the rules of the first table are Roles in those namespaces, \
         and those of the second do not exist: the operator can read nothing of any other namespace.\n"
    );
    for (scope, title) in [
        (Scope::Watched, "In every namespace that is looked after"),
        (
            Scope::AllNamespaces,
            "For the whole cluster, when all namespaces are looked after",
        ),
        (Scope::Cluster, "For the whole cluster"),
        (Scope::Own, "In the operator's own namespace"),
    ] {
        let _ = write!(
            text,
            "\n## {title}\n\n| API group | Resources | Verbs | What for |\n|---|---|---|---|\n"
        );
        for rule in RULES.iter().filter(|rule| rule.scope == scope) {
            let _ = writeln!(text, "{}", row(rule));
        }
    }
    text
}

fn row(rule: &Rule) -> String {
    let code = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let group = if rule.group.is_empty() {
        "core".to_owned()
    } else {
        format!("`{}`", rule.group)
    };
    let mut resources = code(rule.resources);
    if !rule.names.is_empty() {
        let _ = write!(resources, " named {}", code(rule.names));
    }
    format!(
        "| {group} | {resources} | {} | {} |",
        code(rule.verbs),
        capital(rule.reason)
    )
}
