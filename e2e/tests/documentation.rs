//! What the documentation says exists: links, pages, resources, commands and figures.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use clap::{Command, CommandFactory};
use e2e_exposition as exposition;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository")
}

/// Every page under version control, or about to be, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let listed = Program::new("git")
        .current_dir(root())
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.md",
        ])
        .output()
        .expect("git");
    let listed = String::from_utf8(listed.stdout).expect("names");
    let pages: Vec<_> = listed
        .lines()
        .map(|name| root().join(name))
        .filter(|path| path.is_file())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable");
            (path, text)
        })
        .collect();
    assert!(pages.len() > 30, "{} pages", pages.len());
    pages
}

/// A page as a reader knows it.
fn short(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Code blocks of a language, with the first line's number.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(name)) => open = Some((name.trim().to_owned(), index + 2, String::new())),
            (Some(_), Some(_)) => {
                if let Some((name, at, body)) = open.take()
                    && name == language
                {
                    found.push((at, body));
                }
            }
            (Some((_, _, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Text outside of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    // Parts between single backquotes are code too.
    prose.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Targets of links.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Names of headings as web pages have them.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in pages() {
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().expect("a folder").join(file)
            };
            if !target.exists() {
                broken.push(format!("{}: {link}", short(&path)));
            } else if !anchor.is_empty() {
                let there = fs::read_to_string(&target).expect("a page");
                if !anchors(&there).contains(anchor) {
                    broken.push(format!("{}: {link}: no such heading", short(&path)));
                }
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn every_page_of_the_book_is_in_its_list() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("the list");
    let named: BTreeSet<PathBuf> = links(&summary)
        .into_iter()
        .map(|link| docs.join(link))
        .collect();
    for page in &named {
        assert!(page.is_file(), "{} is not there", short(page));
    }
    for (path, _) in pages() {
        let of_book = path.starts_with(&docs) && !path.ends_with("SUMMARY.md");
        assert!(
            !of_book || named.contains(&path),
            "{} is not in docs/SUMMARY.md",
            short(&path)
        );
    }
}

#[test]
fn resources_in_pages_are_valid() {
    let mut seen = 0;
    for (path, text) in pages() {
        for (line, block) in blocks(&text, "yaml") {
            if block.contains("apiVersion: getvpn.dev/") {
                let name = format!("{}:{line}", short(&path));
                crds::load(&name, &block).unwrap_or_else(|errors| panic!("{errors}"));
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen} resources");
}

/// Our programs by the words that begin their command lines.
fn programs() -> Vec<(&'static str, Command)> {
    vec![
        ("kubectl getvpn", kubectl_getvpn::cli::Arguments::command()),
        ("kubectl-getvpn", kubectl_getvpn::cli::Arguments::command()),
        ("gm-sidecar", gm_sidecar::cli::Cli::command()),
        ("keyserver", keyserver::cli::Arguments::command()),
        ("operator", operator::cli::Arguments::command()),
    ]
}

/// The arguments of our programs in a line of a shell.
fn commands(line: &str) -> Vec<(Command, Vec<String>)> {
    let mut found = Vec::new();
    let line = line.split(" #").next().unwrap_or_default();
    for part in line.split(['|', '&', ';', '>', '<', '(', ')', '`']) {
        let part = part.trim().trim_start_matches("$ ").trim_end_matches('"');
        for (words, command) in programs() {
            let Some(rest) = part.strip_prefix(words) else {
                continue;
            };
            if rest.is_empty() || rest.starts_with(' ') {
                let mut arguments = vec![words.to_owned()];
                arguments.extend(rest.split_whitespace().map(str::to_owned));
                found.push((command, arguments));
            }
        }
    }
    found
}

#[test]
fn commands_in_pages_are_accepted() {
    let mut seen = 0;
    for (path, text) in pages() {
        for (line, block) in blocks(&text, "sh") {
            for (command, arguments) in block.lines().flat_map(commands) {
                seen += 1;
                let shown = arguments.join(" ");
                let parsed = command.try_get_matches_from(arguments);
                let accepted = match &parsed {
                    Ok(_) => true,
                    Err(error) => !error.use_stderr(),
                };
                assert!(
                    accepted,
                    "{}:{line}: {shown}: {}",
                    short(&path),
                    parsed
                        .err()
                        .map(|error| error.to_string())
                        .unwrap_or_default()
                );
            }
        }
    }
    assert!(seen > 15, "{seen} commands");
}

#[test]
fn figures_in_pages_are_published() {
    let all = [
        exposition::key_server(),
        exposition::member(),
        exposition::operator(),
    ];
    let published: BTreeSet<String> = all
        .into_iter()
        .flat_map(|metrics| metrics.expect("figures"))
        .flat_map(|(name, metric)| metric.series.into_iter().chain([name]))
        .collect();
    let mut unknown = Vec::new();
    for (path, text) in pages() {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("getvpn_")) {
            // A table of nftables is named so too.
            let table = word == "getvpn_" || word.ends_with("_services");
            if !table && !published.contains(word) {
                unknown.push(format!("{}: {word}", short(&path)));
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
}
