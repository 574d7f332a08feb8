//! The page of metrics: what our programs publish when every figure has a value.

use std::fmt::Write as _;

use anyhow::Result;
use e2e_exposition::{self as exposition, Metric};

/// The page.
pub(crate) fn page() -> Result<String> {
    let mut text = String::from(
        "<!-- Generated from what the programs publish by `cargo xtask generate`. Do not edit. -->\n\n\
         # Metrics\n\n\
         Every program answers `/metrics` in the OpenMetrics format, next to `/livez` and `/readyz`. Values are in \
         base units. Labels come from closed lists; `group` is the name of a group at a key server, and its number at \
         a member. Prometheus adds `namespace`, `pod` and `job`; the chart's PodMonitor adds `key_servers`, the group \
         that has the key servers.\n",
    );
    for (title, metrics) in [
        ("Key server", exposition::key_server()?),
        ("Group member", exposition::member()?),
        ("Operator", exposition::operator()?),
    ] {
        let _ = write!(
            text,
            "\n## {title}\n\n| Name | Kind | Labels | Meaning |\n|---|---|---|---|\n"
        );
        for (name, metric) in &metrics {
            row(&mut text, name, metric);
        }
    }
    Ok(text)
}

fn row(text: &mut String, name: &str, metric: &Metric) {
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    let _ = writeln!(
        text,
        "| `{name}` | {} | {} | {} |",
        metric.kind,
        labels.join(", "),
        metric.help
    );
}
