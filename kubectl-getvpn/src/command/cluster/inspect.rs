//! Pages about one thing, and checks that look at many.

use std::process::ExitCode;

use kubectl_getvpn::cli::Output;
use kubectl_getvpn::cluster::diagnosis::{Facts, diagnose};
use kubectl_getvpn::cluster::table::{Column, page, render};
use kubectl_getvpn::cluster::{member, resources};
use serde_json::{Value, json};

use super::{Session, now, whole};
use crate::command::Failure;

/// Columns of the keys of a member.
const MEMBER_KEYS: &[Column] = &[
    Column::new("SPI", "/spi"),
    Column::new("PHASE", "/phase"),
    Column::new("ALGORITHM", "/algorithm"),
    Column::new("REMAINING-S", "/remainingSeconds"),
    Column::new("SENT", "/sentPackets"),
    Column::new("RECEIVED", "/receivedPackets"),
];

impl Session {
    pub(super) async fn status(&self, group: &str) -> Result<ExitCode, Failure> {
        let to = &self.connection;
        let rows = resources::group_rows(to, Some(group)).await?;
        let Some(object) = rows.first() else {
            return Ok(ExitCode::FAILURE);
        };
        let servers = resources::key_server_rows(to, Some(group)).await?;
        // A group without an answering key server still has a page.
        let members = resources::member_rows(to, Some(group), now()).await;
        let members_error = members.as_ref().err().map(ToString::to_string);
        let members = members.unwrap_or_default();
        if matches!(self.output, Output::Json | Output::Yaml) {
            let all = json!({"group": object, "keyServers": servers, "members": members});
            say_text!("{}", whole(self.output, &all));
            return Ok(ExitCode::SUCCESS);
        }
        let text = |pointer: &str| match object.pointer(pointer) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let lines = [
            (
                "Name",
                format!("{}/{group} (id {})", to.namespace, text("/spec/groupID")),
            ),
            ("Ready", text("/ready")),
            ("Rekey", text("/spec/rekey/transport")),
            (
                "Policy",
                format!(
                    "revision {}, {} permit rules, {} security associations",
                    text("/status/policy/revision"),
                    text("/status/policy/permitRules"),
                    text("/status/policy/securityAssociations")
                ),
            ),
            (
                "Keys",
                format!(
                    "epoch {}, last rekey {} (acknowledged {}), next {}",
                    text("/status/keys/epoch"),
                    text("/status/keys/lastRekeyTime"),
                    text("/status/keys/lastRekeyAcknowledged"),
                    text("/status/keys/nextRekeyTime")
                ),
            ),
            ("Signing key", text("/status/signingKey/fingerprint")),
        ];
        say!("{}", page("Group", &lines));
        say!(
            "Key servers\n{}",
            render(self.output, &servers, resources::KEY_SERVERS)
        );
        match members_error {
            Some(error) => say!("Members\n  {error}\n"),
            None => say!(
                "Members {}\n{}",
                text("/status/members/summary"),
                render(self.output, &members, resources::MEMBERS)
            ),
        }
        let facts = Facts {
            resources: vec![object.clone()],
            key_servers: servers,
            ..Facts::default()
        };
        let findings = diagnose(&facts);
        say!("Needs attention");
        if findings.is_empty() {
            say!("  nothing");
        }
        for finding in findings {
            say!("  {}: {}", finding.object, finding.message);
            say!("    {}", finding.remedy);
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn encrypt_status(&self, pod: &str) -> Result<ExitCode, Failure> {
        let state = member::state(&self.connection, pod).await?;
        if matches!(self.output, Output::Json | Output::Yaml) {
            say_text!("{}", whole(self.output, &state));
            return Ok(ExitCode::SUCCESS);
        }
        let lines = [
            ("Ready", state["ready"].to_string()),
            ("Drop rules", state["guard"]["installed"].to_string()),
            ("Encrypted packets", state["packets"]["sent"].to_string()),
            (
                "Decrypted packets",
                state["packets"]["received"].to_string(),
            ),
            ("Drops", counters(&state["drops"])),
            ("Clear packets dropped", counters(&state["guard"]["drops"])),
            ("Clear by exception", counters(&state["guard"]["bypassed"])),
        ];
        say!(
            "{}",
            page(
                &format!("Member {}/{pod}", self.connection.namespace),
                &lines
            )
        );
        for group in state["groups"].as_array().into_iter().flatten() {
            say!(
                "Group number {}: registered {} with {}",
                group["groupID"],
                group["registered"],
                group["keyServer"].as_str().unwrap_or("nobody")
            );
            let keys = group["trafficKeys"].as_array().cloned().unwrap_or_default();
            say!("{}", render(self.output, &keys, MEMBER_KEYS));
            for rule in group["rules"].as_array().into_iter().flatten() {
                say!("  {}", rule.as_str().unwrap_or_default());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Counters that are not zero.
fn counters(value: &Value) -> String {
    let all: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}
