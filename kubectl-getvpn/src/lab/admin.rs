//! Talks to the key servers' admin API from inside the lab's core.

use std::sync::Arc;
use std::time::Duration;

use keyserver_api::client::{Client, ClientError};
use keyserver_api::error::ErrorCode;
use keyserver_api::status::ServerStatus;
use runtime::tls::{self, TlsFiles};

use super::error::LabError;
use super::name::LabName;
use super::namespace;
use super::state::{Lab, Node};
use super::wait::{self, Look};

/// How long one request may take unless told otherwise.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a request waits for a primary while one is being elected.
const ELECTION_LIMIT: Duration = Duration::from_secs(20);

/// How long a question about a key server's state may take.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// Files of the administrator's certificate.
#[must_use]
pub fn credentials(lab: &LabName) -> TlsFiles {
    let directory = lab.directory().join("admin");
    TlsFiles {
        certificate: directory.join("admin.pem"),
        key: directory.join("admin.key"),
        trust: directory.join("ca.pem"),
    }
}

/// An administrator of one lab.
pub struct Admin {
    core: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Admin {
    /// Reads the lab's administrator credentials.
    ///
    /// # Errors
    /// When a file is missing or unusable.
    pub fn new(lab: &LabName) -> Result<Self, LabError> {
        let tls = tls::client(&credentials(lab)).map_err(|error| LabError::Provision {
            what: "a connection of the administrator".to_owned(),
            message: error.to_string(),
        })?;
        Ok(Self {
            core: lab.core_namespace(),
            tls: Arc::new(tls),
        })
    }

    /// Runs one request against these key servers, which the client tries in this order.
    ///
    /// # Errors
    /// [`LabError::Admin`] with the whole chain of causes.
    pub fn call<T, W>(
        &self,
        key_servers: &[&Node],
        limit: Duration,
        request: W,
    ) -> Result<T, LabError>
    where
        T: Send,
        W: AsyncFnOnce(&Client) -> Result<T, ClientError> + Send,
    {
        let named = || {
            let names: Vec<&str> = key_servers.iter().map(|node| node.name.as_str()).collect();
            names.join(", ")
        };
        self.attempt(key_servers, limit, request)?
            .map_err(|error| LabError::Admin {
                node: named(),
                message: chain(&error),
            })
    }

    /// As [`Admin::call`], and leaves the client's own error to the caller.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn attempt<T, W>(
        &self,
        key_servers: &[&Node],
        limit: Duration,
        request: W,
    ) -> Result<Result<T, ClientError>, LabError>
    where
        T: Send,
        W: AsyncFnOnce(&Client) -> Result<T, ClientError> + Send,
    {
        let addresses: Vec<String> = key_servers
            .iter()
            .filter_map(|node| node.admin)
            .map(|address| address.to_string())
            .collect();
        let client = Client::new(addresses, Arc::clone(&self.tls)).with_timeout(limit);
        namespace::inside(&self.core, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(LabError::system("start the client"))?;
            Ok(runtime.block_on(request(&client)))
        })
    }

    /// State of one key server, as it tells it itself.
    ///
    /// # Errors
    /// [`LabError::Admin`] when it does not answer.
    pub fn status(&self, key_server: &Node) -> Result<ServerStatus, LabError> {
        self.call(&[key_server], STATUS_LIMIT, async |client| {
            client.status().await
        })
    }

    /// Runs one request for a group against its key servers, the primary found by the client.
    /// While there is none the request, which then did nothing, is made again.
    ///
    /// # Errors
    /// [`LabError::Admin`], or [`LabError::Usage`] when the lab has no such group.
    pub fn group_call<T, W>(&self, lab: &Lab, group: &str, request: W) -> Result<T, LabError>
    where
        T: Send,
        W: AsyncFn(&Client) -> Result<T, ClientError> + Sync,
    {
        let names = lab
            .groups
            .iter()
            .find(|candidate| candidate.policy.name == group)
            .map(|candidate| &candidate.key_servers)
            .ok_or_else(|| LabError::Usage(format!("lab `{}` has no group `{group}`", lab.name)))?;
        let running: Vec<&Node> = lab
            .key_servers()
            .filter(|node| names.contains(&node.name) && node.is_running())
            .collect();
        if running.is_empty() {
            return Err(LabError::Usage(format!(
                "no key server of group `{group}` runs: start them with `lab heal`"
            )));
        }
        wait::until("a primary key server", ELECTION_LIMIT, || {
            match self.attempt(&running, REQUEST_LIMIT, async |client| {
                request(client).await
            })? {
                Ok(answer) => Ok(Look::Done(answer)),
                Err(error) if did_nothing(&error) => Ok(Look::NotYet(chain(&error))),
                Err(error) => Err(LabError::Admin {
                    node: names.join(", "),
                    message: chain(&error),
                }),
            }
        })
    }
}

/// Whether the request reached no key server that could do it.
fn did_nothing(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { .. } | ClientError::Tls { .. } => true,
        ClientError::Refused { body, .. } => {
            matches!(body.code, ErrorCode::NotPrimary | ErrorCode::NoQuorum)
        }
        ClientError::NoAddress
        | ClientError::Address { .. }
        | ClientError::Http { .. }
        | ClientError::TimedOut { .. }
        | ClientError::Answer { .. } => false,
    }
}

/// An error with all its causes, as one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
