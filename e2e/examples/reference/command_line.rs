//! A page for each program: what it does, its commands, arguments and variables.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

/// Our programs, by the name of their page.
pub(crate) fn programs() -> Vec<(&'static str, Command)> {
    vec![
        ("gm-sidecar", gm_sidecar::cli::Cli::command()),
        ("keyserver", keyserver::cli::Arguments::command()),
        ("kubectl-getvpn", kubectl_getvpn::cli::Arguments::command()),
        ("operator", operator::cli::Arguments::command()),
    ]
}

/// The page of one program.
pub(crate) fn page(mut command: Command) -> String {
    command.build();
    let mut text = String::from(
        "<!-- Generated from the command line's definition by `cargo xtask generate`. Do not edit. -->\n\n",
    );
    describe(&mut text, &command, &[], 1);
    text
}

fn describe(text: &mut String, command: &Command, parents: &[&str], level: usize) {
    let mut path = parents.to_vec();
    path.push(command.get_name());
    let heading = "#".repeat(level.min(4));
    let _ = writeln!(text, "{heading} `{}`\n", path.join(" "));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = writeln!(text, "{}\n", escaped(&about.to_string()));
    }
    let mut arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && is_own(command, argument, level))
        .collect();
    arguments.sort_by_key(|argument| (argument.is_positional(), argument.get_id().to_string()));
    if !arguments.is_empty() {
        text.push_str("| Argument | Default | Meaning |\n|---|---|---|\n");
        for argument in arguments {
            row(text, argument);
        }
        text.push('\n');
    }
    if let Some(more) = command.get_after_help() {
        let _ = writeln!(text, "```text\n{more}\n```\n");
    }
    for child in command.get_subcommands() {
        if !child.is_hide_set() && child.get_name() != "help" {
            describe(text, child, &path, level + 1);
        }
    }
}

/// Arguments that every command has are shown once, at the top.
fn is_own(command: &Command, argument: &Arg, level: usize) -> bool {
    let id = argument.get_id().as_str();
    let everywhere = argument.is_global_set() || matches!(id, "help" | "version");
    !everywhere || (level == 1 && !matches!(id, "help" | "version")) && command.get_name() != "help"
}

fn row(text: &mut String, argument: &Arg) {
    let mut names: Vec<String> = Vec::new();
    if let Some(short) = argument.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        names.push(format!("--{long}"));
    }
    let mut name = names.join(", ");
    if argument.is_positional() || argument.get_action().takes_values() {
        let values: Vec<String> = argument
            .get_value_names()
            .map(|names| names.iter().map(ToString::to_string).collect())
            .unwrap_or_default();
        let values: Vec<String> = values.iter().map(|it| format!("<{it}>")).collect();
        name = format!("{name} {}", values.join(" ")).trim().to_owned();
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let default = if defaults.is_empty() || !argument.get_action().takes_values() {
        String::new()
    } else {
        format!("`{}`", defaults.join(","))
    };
    let mut meaning = argument
        .get_help()
        .map(|help| escaped(&help.to_string()))
        .unwrap_or_default();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !choices.is_empty() && argument.get_action().takes_values() {
        let _ = write!(meaning, ": {}", choices.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(meaning, " (or `{}`)", variable.to_string_lossy());
    }
    let _ = writeln!(text, "| `{name}` | {default} | {meaning} |");
}

fn escaped(words: &str) -> String {
    words
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', " ")
}
