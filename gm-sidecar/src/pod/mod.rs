//! The member in a pod: it is told nothing but names and places, and gets everything else from the operator.
//!
//! Drop rules come first, as everywhere. Then the member makes a key, proves with its pod's token which pod it is, and
//! receives certificates and its configuration. From then on it waits for the next configuration at an open request,
//! and renews its certificates in time. When the operator is away it goes on with what it has.

mod enrolment;
mod operator;
pub mod probe;
mod state;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gm_core::member::TrafficPlan;
use operator_api::pod as place;
use runtime::shutdown::{Shutdown, Trigger};

use crate::config::{FailureMode, NetworkConfig};
use crate::guard::{Guard, GuardError};
use crate::metrics::LatestReport;
use crate::runner::{self, Feed, RunError, RunOptions};
use enrolment::Enrolment;
use operator::Operator;

/// What a pod tells its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Protected interfaces.
    pub interfaces: Vec<String>,
    /// What holds until there is a policy.
    pub failure_mode: FailureMode,
    /// Directory with token, authorities and place of the enrolment endpoint.
    pub enrolment: PathBuf,
    /// Directory for key, certificates and control socket.
    pub state: PathBuf,
}

/// What keeps a member from running in a pod.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// An environment variable.
    #[error("the environment variable {0}: {1}; the getvpn injector sets it")]
    Environment(&'static str, String),
    /// A file of the enrolment directory, or the state directory.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Drop rules.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The member itself.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A key or certificate request could not be made.
    #[error("no certificate request could be made: {0}")]
    Request(String),
    /// What the operator said.
    #[error("{0}")]
    Refused(String),
}

impl Surroundings {
    /// As the environment says.
    ///
    /// # Errors
    /// [`PodError::Environment`].
    pub fn from_environment() -> Result<Self, PodError> {
        let variable = |name: &'static str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| PodError::Environment(name, "is not set".to_owned()))
        };
        let interfaces = variable(place::INTERFACES)?;
        let failure_mode = match variable(place::FAILURE_MODE)?.as_str() {
            "FailClosed" => FailureMode::FailClosed,
            "FailOpen" => FailureMode::FailOpen,
            other => {
                return Err(PodError::Environment(
                    place::FAILURE_MODE,
                    format!("must be 'FailClosed' or 'FailOpen', not '{other}'"),
                ));
            }
        };
        Ok(Self {
            name: variable(place::POD_NAME)?,
            namespace: variable(place::POD_NAMESPACE)?,
            interfaces: interfaces.split(',').map(str::to_owned).collect(),
            failure_mode,
            enrolment: PathBuf::from(place::ENROLMENT_DIRECTORY),
            state: PathBuf::from(place::STATE_DIRECTORY),
        })
    }

    /// The control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.state.join(place::CONTROL_SOCKET_FILE)
    }
}

/// Puts the drop rules of a pod whose policy is not known in force.
///
/// # Errors
/// [`PodError`].
pub fn close(surroundings: &Surroundings) -> Result<(Guard, TrafficPlan), PodError> {
    let endpoint = endpoint(&surroundings.enrolment)?;
    let guard = Guard {
        member: place::MEMBER_NAME.to_owned(),
        interfaces: surroundings.interfaces.clone(),
        mark: NetworkConfig::default().mark,
        ike_ports: vec![place::IKE_PORT],
        key_servers: Vec::new(),
        rekey_groups: Vec::new(),
        operator: Some(endpoint),
    };
    let closed = surroundings.failure_mode == FailureMode::FailClosed;
    let plan = TrafficPlan::before_registration(closed, Vec::new());
    guard.install(&plan)?;
    Ok((guard, plan))
}

/// Enrols and runs behind `guard`, which holds the rules of `plan`, until shutdown.
///
/// # Errors
/// [`PodError`]; the drop rules stay in force.
pub async fn run(
    surroundings: Surroundings,
    (guard, plan): (Guard, TrafficPlan),
    trigger: Trigger,
    mut shutdown: Shutdown,
) -> Result<(), PodError> {
    let operator = Operator::new(&surroundings.enrolment, guard.mark);
    let latest = LatestReport::default();
    let mut enrolment = Enrolment::new(surroundings, operator, latest.clone())?;
    let first = tokio::select! {
        first = enrolment.first() => first?,
        () = shutdown.wait() => return Ok(()),
    };
    let (updates, feed) = tokio::sync::mpsc::channel(1);
    let follower = tokio::spawn(enrolment.follow(updates));
    let result = runner::run(
        first.config,
        (guard, plan),
        RunOptions::default(),
        Some(Feed {
            updates: feed,
            latest,
        }),
        trigger,
        shutdown,
    )
    .await;
    follower.abort();
    Ok(result?)
}

/// Where the enrolment endpoint is.
fn endpoint(directory: &Path) -> Result<SocketAddr, PodError> {
    let path = directory.join(place::ENDPOINT_FILE);
    let text = read(&path)?;
    text.trim().parse().map_err(|_| PodError::File {
        cause: format!("`{}` is no address and port", text.trim()),
        path,
    })
}

fn read(path: &Path) -> Result<String, PodError> {
    std::fs::read_to_string(path).map_err(|error| PodError::File {
        path: path.to_owned(),
        cause: error.to_string(),
    })
}
