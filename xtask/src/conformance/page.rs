//! The page, from rows, tests and reasons.

use super::Survey;

const HEAD: &str = "# What a GET VPN does, and what shows it here

Every behaviour has a number and a check; the tests named in its row assert that check. Written by
`cargo xtask conformance` from the tests themselves: a test says which rows it shows in a comment right above it.

";

pub(super) fn render(survey: &Survey) -> String {
    let mut text = String::from(HEAD);
    text.push_str(&survey.counts());
    text.push_str(".\n");
    let mut section = "";
    for row in &survey.rows {
        if row.section != section {
            section = &row.section;
            text.push_str(&format!(
                "\n## {section}\n\n| No. | Behaviour | Check | Shown by |\n|---|---|---|---|\n"
            ));
        }
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            row.number,
            row.item,
            row.check,
            evidence(survey, row)
        ));
    }
    text
}

fn evidence(survey: &Survey, row: &super::rows::Row) -> String {
    let tests = survey.tests_of(row.number);
    if !tests.is_empty() {
        let names = tests.iter().map(|test| format!("`{}`", test.place()));
        return names.collect::<Vec<_>>().join("; ");
    }
    if let Some(exception) = survey.exception(row.number) {
        return exception.reason.clone();
    }
    if survey.shown(row) {
        return format!("rows {}", super::rows::spans(&row.see));
    }
    "open".to_owned()
}
