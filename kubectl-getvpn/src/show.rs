//! Answers as people and programs read them.

use kubectl_getvpn::lab::admin::Admin;
use kubectl_getvpn::lab::capture::AuditReport;
use kubectl_getvpn::lab::control;
use kubectl_getvpn::lab::error::LabError;
use kubectl_getvpn::lab::state::{Lab, Node};
use serde_json::{Value, json};

use kubectl_getvpn::cli::Output;
use kubectl_getvpn::cluster::table::aligned;

/// Shows key servers and members.
pub(crate) fn status(lab: &Lab, output: Output) -> Result<(), LabError> {
    let admin = Admin::new(lab.lab_name())?;
    let key_servers: Vec<Value> = lab
        .key_servers()
        .map(|node| key_server(&admin, node))
        .collect();
    let members: Vec<Value> = lab.members().map(member).collect();
    let all = json!({ "lab": lab.name, "keyServers": key_servers, "members": members });
    match output {
        Output::Json => say!("{all:#}"),
        Output::Yaml => say_text!("{}", serde_saphyr::to_string(&all).unwrap_or_default()),
        Output::Table | Output::Wide => {
            say!("{}", key_server_table(&key_servers, output == Output::Wide));
            say!("{}", member_table(&members, output == Output::Wide));
        }
    }
    Ok(())
}

fn key_server(admin: &Admin, node: &Node) -> Value {
    let answer = if node.is_running() {
        admin.status(node).ok()
    } else {
        None
    };
    json!({
        "name": node.name,
        "running": node.is_running(),
        "priority": node.priority,
        "identity": node.identity,
        "registration": node.addresses.ipv4,
        "status": answer.and_then(|status| serde_json::to_value(status).ok()),
    })
}

fn member(node: &Node) -> Value {
    let answer = if node.is_running() {
        control::status(node).ok()
    } else {
        None
    };
    json!({
        "name": node.name,
        "running": node.is_running(),
        "address": node.addresses.ipv4,
        "groups": node.groups,
        "status": answer,
    })
}

/// Text of a value for a table.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The sum of an object's numbers.
fn sum(counters: &Value) -> u64 {
    let counters = counters.as_object();
    counters.map_or(0, |counters| {
        counters.values().filter_map(Value::as_u64).sum()
    })
}

fn key_server_table(key_servers: &[Value], wide: bool) -> String {
    let mut rows = String::from("KEY SERVER\tROLE\tPRIORITY\tTERM\tAPPLIED\tMEMBERS\tNEXT REKEY");
    rows.push_str(if wide {
        "\tIDENTITY\tREGISTRATION\n"
    } else {
        "\n"
    });
    for server in key_servers {
        let status = &server["status"];
        let role = match (&server["running"], &status["role"]) {
            (Value::Bool(false), _) => "Down".to_owned(),
            (_, Value::Null) => "NoAnswer".to_owned(),
            (_, role) => text(role),
        };
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        let members: u64 = groups
            .iter()
            .filter_map(|group| group["members"].as_u64())
            .sum();
        let next = groups
            .iter()
            .filter_map(|group| group["nextRekeyMs"].as_u64())
            .min();
        let next = next.map_or_else(|| "-".to_owned(), |next| format!("{} s", next / 1000));
        rows.push_str(&format!(
            "{}\t{role}\t{}\t{}\t{}\t{members}\t{next}",
            text(&server["name"]),
            text(&server["priority"]),
            text(&status["term"]),
            text(&status["appliedIndex"]),
        ));
        if wide {
            rows.push_str(&format!(
                "\t{}\t{}",
                text(&server["identity"]),
                text(&server["registration"])
            ));
        }
        rows.push('\n');
    }
    aligned(&rows)
}

fn member_table(members: &[Value], wide: bool) -> String {
    let mut rows = String::from(
        "MEMBER\tADDRESS\tGROUP\tREGISTERED\tKEY SERVER\tSENDER-ID\tSENT\tRECEIVED\tDROPS\tCLEAR DROPPED",
    );
    rows.push_str(if wide { "\tTRAFFIC KEYS\n" } else { "\n" });
    for member in members {
        let status = &member["status"];
        // What the data path dropped, by cause, and what the kernel's rules dropped for being in clear.
        let drops = sum(&status["drops"]);
        let clear = sum(&status["guard"]["drops"]);
        let groups = status["groups"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![Value::Null]);
        for group in groups {
            let registered = match (&member["running"], &group["registered"]) {
                (Value::Bool(false), _) => "down",
                (_, Value::Bool(true)) => "yes",
                _ => "no",
            };
            rows.push_str(&format!(
                "{}\t{}\t{}\t{registered}\t{}\t{}\t{}\t{}\t{drops}\t{clear}",
                text(&member["name"]),
                text(&member["address"]),
                text(&group["groupID"]),
                text(&group["keyServer"]),
                text(&group["senderID"]),
                text(&status["packets"]["sent"]),
                text(&status["packets"]["received"]),
            ));
            if wide {
                let keys: Vec<String> = group["trafficKeys"]
                    .as_array()
                    .map(|keys| {
                        keys.iter()
                            .map(|key| format!("{}({})", text(&key["spi"]), text(&key["phase"])))
                            .collect()
                    })
                    .unwrap_or_default();
                rows.push_str(&format!("\t{}", keys.join(",")));
            }
            rows.push('\n');
        }
    }
    aligned(&rows)
}

/// Shows what a capture found.
pub(crate) fn capture(report: &AuditReport) -> Result<(), LabError> {
    let lines = [
        ("packets", report.packets),
        ("ESP in UDP", report.esp_in_udp),
        ("raw ESP", report.raw_esp),
        ("IKE and rekeys", report.ike),
        ("other", report.other),
        ("protected in clear", report.clear_protected),
        ("initialisation vectors used twice", report.iv_reused),
        ("not captured", report.capture_dropped),
    ];
    let mut rows = String::new();
    for (name, count) in lines {
        rows.push_str(&format!("{name}\t{count}\n"));
    }
    say_text!("{}", aligned(&rows));
    for flow in &report.clear_flows {
        say!(
            "  in clear: protocol {} {} -> {} {:?}",
            flow.protocol,
            flow.source,
            flow.destination,
            flow.ports
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // GET VPN row 48
    #[test]
    fn the_wide_list_of_key_servers_says_who_where_and_with_which_priority() {
        let servers = [json!({
            "name": "ks-0",
            "running": true,
            "priority": 100,
            "identity": "FQDN:ks-0.keyserver.getvpn",
            "registration": "172.20.0.2",
            "status": { "role": "Primary", "term": 1, "appliedIndex": 7, "groups": [] },
        })];
        let table = key_server_table(&servers, true);
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        for (column, cell) in [
            ("KEY SERVER", "ks-0"),
            ("PRIORITY", "100"),
            ("IDENTITY", "FQDN:ks-0.keyserver.getvpn"),
            ("REGISTRATION", "172.20.0.2"),
        ] {
            let at = lines[0].iter().position(|name| *name == column);
            let at = at.unwrap_or_else(|| panic!("{column} is missing: {table}"));
            assert_eq!(lines[1][at], cell, "{table}");
        }
        let narrow = key_server_table(&servers, false);
        assert!(!narrow.contains("IDENTITY"), "{narrow}");
    }
}
