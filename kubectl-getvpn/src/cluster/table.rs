//! Answers as people and programs read them: one list of objects, several forms.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;
use tabwriter::TabWriter;

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A table
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// JSON pointer of what is in it.
    pub pointer: &'static str,
    /// Whether only the wide table has it.
    pub wide: bool,
}

impl Column {
    /// A column of every table.
    #[must_use]
    pub const fn new(heading: &'static str, pointer: &'static str) -> Self {
        Self {
            heading,
            pointer,
            wide: false,
        }
    }

    /// A column of the wide table.
    #[must_use]
    pub const fn wide(heading: &'static str, pointer: &'static str) -> Self {
        Self {
            heading,
            pointer,
            wide: true,
        }
    }
}

/// The objects in a form. JSON and YAML hold them whole.
#[must_use]
pub fn render(output: Output, objects: &[Value], columns: &[Column]) -> String {
    match output {
        Output::Json => format!("{:#}\n", Value::from(objects)),
        Output::Yaml => serde_saphyr::to_string(&objects).unwrap_or_default(),
        Output::Table | Output::Wide => {
            let shown: Vec<&Column> = columns
                .iter()
                .filter(|column| !column.wide || output == Output::Wide)
                .collect();
            let mut rows = joined(shown.iter().map(|column| column.heading.to_owned()));
            for object in objects {
                let cells = shown.iter().map(|column| cell(object, column.pointer));
                rows.push_str(&joined(cells));
            }
            aligned(&rows)
        }
    }
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    let mut row = cells.collect::<Vec<_>>().join("\t");
    row.push('\n');
    row
}

/// What stands in a cell: `-` for nothing, the parts of a list with commas between them.
fn cell(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        // A tab or a line's end would break the table.
        Some(Value::String(text)) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| cell(item, ""))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}

/// Rows with tabs between cells as columns.
#[must_use]
pub fn aligned(rows: &str) -> String {
    let mut writer = TabWriter::new(Vec::new()).padding(2);
    // Writing to memory cannot fail.
    let _ = writer
        .write_all(rows.as_bytes())
        .and_then(|()| writer.flush());
    writer
        .into_inner()
        .ok()
        .and_then(|octets| String::from_utf8(octets).ok())
        .unwrap_or_default()
}

/// A page of a name and a value on each line, under a heading.
#[must_use]
pub fn page(heading: &str, lines: &[(&str, String)]) -> String {
    let mut rows = String::new();
    for (name, value) in lines {
        // Writing to a text cannot fail.
        let _ = writeln!(rows, "  {name}\t{value}");
    }
    format!("{heading}\n{}", aligned(&rows))
}

/// A time span for people: `41m`, `2h5m`, `3d4h`.
#[must_use]
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[Column] = &[
        Column::new("NAME", "/name"),
        Column::wide("NUMBERS", "/numbers"),
    ];

    #[test]
    fn a_wide_table_has_more_columns_and_an_absent_value_is_a_dash() {
        let objects = [
            json!({"name": "a", "numbers": [1, 2]}),
            json!({"name": "bb"}),
        ];
        assert_eq!(render(Output::Table, &objects, COLUMNS), "NAME\na\nbb\n");
        assert_eq!(
            render(Output::Wide, &objects, COLUMNS),
            "NAME  NUMBERS\na     1,2\nbb    -\n"
        );
    }

    #[test]
    fn text_with_line_ends_stays_one_cell() {
        let objects = [json!({"name": "a\tb\nc"})];
        assert_eq!(render(Output::Table, &objects, COLUMNS), "NAME\na b c\n");
    }

    #[test]
    fn json_holds_objects_whole() {
        let objects = [json!({"name": "a", "more": true})];
        let text = render(Output::Json, &objects, COLUMNS);
        let read: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, objects);
    }

    #[test]
    fn spans_are_written_with_their_two_largest_units() {
        for (milliseconds, text) in [
            (999, "0s"),
            (61_000, "1m1s"),
            (7_500_000, "2h5m"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(span(milliseconds), text);
        }
    }
}
