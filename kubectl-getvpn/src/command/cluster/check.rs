//! Checks that look at everything of a namespace or group.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::BufWriter;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{ListParams, LogParams};
use kubectl_getvpn::cli::Output;
use kubectl_getvpn::cluster::connectivity::{difference, passed, probe};
use kubectl_getvpn::cluster::diagnosis::{Facts, diagnose};
use kubectl_getvpn::cluster::error::ClusterError;
use kubectl_getvpn::cluster::system_dump::SystemDump;
use kubectl_getvpn::cluster::table::{Column, render};
use kubectl_getvpn::cluster::{member, resources};
use operator_core::labels;
use serde_json::{Value, json};

use super::{Session, api, now, whole};
use crate::command::{CHECKS_FAILED, Failure};

/// Columns of findings.
const FINDINGS: &[Column] = &[
    Column::new("SEVERITY", "/severity"),
    Column::new("OBJECT", "/object"),
    Column::new("REASON", "/reason"),
    Column::new("MESSAGE", "/message"),
    Column::new("REMEDY", "/remedy"),
];
/// Columns of probes.
const PROBES: &[Column] = &[
    Column::new("FROM", "/from"),
    Column::new("TO", "/to"),
    Column::new("ANSWERED", "/answered"),
    Column::new("ERROR", "/error"),
];
/// Columns of differences.
const DIFFERENCES: &[Column] = &[
    Column::new("POD", "/pod"),
    Column::new("ENCRYPTED", "/encrypted"),
    Column::new("DECRYPTED", "/decrypted"),
    Column::new("CLEAR-DROPPED", "/clearDropped"),
    Column::new("DROPPED", "/dropped"),
];
/// Lines of each log in a dump.
const LOG_LINES: i64 = 2000;

impl Session {
    pub(super) async fn connectivity(&self, group: &str, most: u16) -> Result<ExitCode, Failure> {
        let to = &self.connection;
        resources::groups(to, Some(group)).await?;
        let mut pods: Vec<(String, IpAddr)> = resources::member_pods(to, group)
            .await?
            .iter()
            .filter_map(|pod| {
                let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
                Some((pod.name_any(), address))
            })
            .collect();
        pods.sort();
        pods.truncate(usize::from(most));
        if pods.len() < 2 {
            return Err(ClusterError::Usage(format!(
                "group {group} has {} pods with a sidecar and an address in namespace {}; a test needs two",
                pods.len(),
                to.namespace
            ))
            .into());
        }
        let mut before = BTreeMap::new();
        for (pod, _) in &pods {
            before.insert(pod.clone(), member::state(to, pod).await?);
        }
        let mut probes = Vec::new();
        for (from, _) in &pods {
            for (target, address) in pods.iter().filter(|(target, _)| target != from) {
                probes.push(probe(to, from, (target, *address)).await);
            }
        }
        let mut differences = Vec::new();
        for (pod, before) in &before {
            let after = member::state(to, pod).await?;
            differences.push(difference(pod, before, &after));
        }
        let whole_test = passed(&probes, &differences);
        if matches!(self.output, Output::Json | Output::Yaml) {
            let all = json!({"passed": whole_test, "probes": probes, "members": differences});
            say_text!("{}", whole(self.output, &all));
        } else {
            let rows = |list| match list {
                Value::Array(rows) => rows,
                _ => Vec::new(),
            };
            say!("{}", render(self.output, &rows(json!(probes)), PROBES));
            say!(
                "{}",
                render(self.output, &rows(json!(differences)), DIFFERENCES)
            );
            let answered = probes.iter().filter(|probe| probe.answered).count();
            say!(
                "{answered} of {} answered; {}",
                probes.len(),
                if whole_test {
                    "everything was encrypted and nothing protected was met in clear"
                } else {
                    "see above for what is not as it should be"
                }
            );
        }
        Ok(verdict(whole_test))
    }

    pub(super) async fn diagnose(&self) -> Result<ExitCode, Failure> {
        let facts = self.facts().await?;
        let findings = diagnose(&facts);
        let rows = match json!(findings) {
            Value::Array(rows) => rows,
            _ => Vec::new(),
        };
        let tables = matches!(self.output, Output::Table | Output::Wide);
        if tables && rows.is_empty() {
            say!(
                "nothing is wrong: {} resources, {} pods, {} members were looked at",
                facts.resources.len(),
                facts.pods.len(),
                facts.members.len()
            );
        } else if tables {
            for finding in &findings {
                say!(
                    "{:?}  {}  {}\n  {}\n  what to do: {}",
                    finding.severity,
                    finding.object,
                    finding.reason,
                    finding.message,
                    finding.remedy
                );
            }
        } else {
            say_text!("{}", render(self.output, &rows, FINDINGS));
        }
        Ok(verdict(findings.is_empty()))
    }

    /// Everything of the namespace that can be judged.
    async fn facts(&self) -> Result<Facts, ClusterError> {
        let to = &self.connection;
        let pods = self.pods().await?;
        let mut members = Vec::new();
        for pod in &pods {
            let name = pod.name_any();
            if pod.labels().get(labels::ROLE).map(String::as_str) == Some(labels::MEMBER)
                // What does not answer yet says why in its container's state.
                && let Ok(state) = member::state(to, &name).await
            {
                members.push((name, state));
            }
        }
        Ok(Facts {
            resources: self.resources().await?,
            pods: pods.iter().map(|pod| json!(pod)).collect(),
            key_servers: resources::key_server_rows(to, None).await?,
            members,
        })
    }

    async fn resources(&self) -> Result<Vec<Value>, ClusterError> {
        let to = &self.connection;
        let all = ListParams::default();
        let failed = |source| api("list resources".to_owned(), source);
        let groups = to
            .listed::<GetVpnGroup>()
            .list(&all)
            .await
            .map_err(failed)?;
        let associations = to.listed::<SecurityAssociation>().list(&all).await;
        let members = to
            .listed::<GroupMember>()
            .list(&all)
            .await
            .map_err(failed)?;
        Ok(groups
            .iter()
            .map(|it| json!(it))
            .chain(associations.map_err(failed)?.iter().map(|it| json!(it)))
            .chain(members.iter().map(|it| json!(it)))
            .collect())
    }

    /// Pods of key servers, and those with a sidecar.
    async fn pods(&self) -> Result<Vec<Pod>, ClusterError> {
        let selector = format!(
            "{} in ({}, {})",
            labels::ROLE,
            labels::KEY_SERVER,
            labels::MEMBER
        );
        let pods = self.connection.listed::<Pod>();
        let listed = pods.list(&ListParams::default().labels(&selector)).await;
        Ok(listed
            .map_err(|source| api("list pods".to_owned(), source))?
            .items)
    }

    pub(super) async fn system_dump(&self, path: &Path) -> Result<ExitCode, Failure> {
        let to = &self.connection;
        let file = |action| {
            let path = path.to_owned();
            move |source| ClusterError::File {
                action,
                path,
                source,
            }
        };
        let facts = self.facts().await?;
        let findings = diagnose(&facts);
        let events = to.listed::<Event>().list(&ListParams::default()).await;
        let events = events.map_err(|source| api("list Events".to_owned(), source))?;
        // Nobody else needs to read it.
        let out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(file("create"))?;
        let written = || file("write");
        let mut dump = SystemDump::new(BufWriter::new(out), "getvpn-sysdump", now() / 1000);
        dump.objects("resources", &facts.resources)
            .map_err(written())?;
        dump.objects("pods", &facts.pods).map_err(written())?;
        dump.objects("key-servers", &facts.key_servers)
            .map_err(written())?;
        let events: Vec<Value> = events.iter().map(|it| json!(it)).collect();
        dump.objects("events", &events).map_err(written())?;
        for (pod, state) in &facts.members {
            dump.text(&format!("members/{pod}.json"), &format!("{state:#}"))
                .map_err(written())?;
        }
        for pod in &facts.pods {
            let (name, text) = self.pod_log(pod).await;
            dump.text(&format!("logs/{name}.log"), &text)
                .map_err(written())?;
        }
        dump.text("findings.json", &format!("{:#}", json!(findings)))
            .map_err(written())?;
        let files = dump.finish().map_err(written())?;
        say!(
            "{}: {files} files, {} findings. No Secret was read for it; look through it before you give it away.",
            path.display(),
            findings.len()
        );
        Ok(ExitCode::SUCCESS)
    }

    /// The log of our container of a pod, or why there is none.
    async fn pod_log(&self, pod: &Value) -> (String, String) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let member = pod["metadata"]["labels"][labels::ROLE] == labels::MEMBER;
        let parameters = LogParams {
            container: Some(if member {
                operator_api::pod::CONTAINER.to_owned()
            } else {
                "key-server".to_owned()
            }),
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        let pods = self.connection.within(namespace).named::<Pod>();
        let text = pods.logs(name, &parameters).await;
        let text = text.unwrap_or_else(|error| format!("no log: {error}\n"));
        (format!("{namespace}.{name}"), text)
    }
}

fn verdict(fine: bool) -> ExitCode {
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHECKS_FAILED)
    }
}
