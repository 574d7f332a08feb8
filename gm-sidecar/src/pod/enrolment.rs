//! From names and places to a configuration, and from one configuration to the next.

use std::time::{Duration, Instant};

use gm_core::member::{FailureKind, GroupSettings};
use operator_api::enrolment::{
    ENROL, EnrolAnswer, EnrolRequest, GroupReport, MemberReport, WATCH, WatchAnswer, WatchRequest,
};
use operator_api::pod as place;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::operator::{Operator, Unanswered};
use super::{PodError, Surroundings, state};
use crate::config::Config;
use crate::credentials;
use crate::metrics::LatestReport;
use crate::runner::Update;

/// Pause after the first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// While there is no configuration at all, the pod waits for us.
const LONGEST_FIRST_PAUSE: Duration = Duration::from_secs(2);
/// How long the operator is asked to wait for a change: reports are at least this fresh.
const WAIT: Duration = Duration::from_secs(60);
/// How old a certificate must be before a refusal makes us ask for another one.
const REFUSED_AGE: Duration = Duration::from_secs(60);

/// The member's side of enrolment.
pub(super) struct Enrolment {
    surroundings: Surroundings,
    operator: Operator,
    latest: LatestReport,
    key: KeyPair,
    request: String,
    revision: String,
    renew_at: Option<Instant>,
    enrolled_at: Instant,
}

impl Enrolment {
    /// Makes the pod's key and asks nobody yet.
    pub(super) fn new(
        surroundings: Surroundings,
        operator: Operator,
        latest: LatestReport,
    ) -> Result<Self, PodError> {
        let failed = |error: rcgen::Error| PodError::Request(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let identity = place::identity(&surroundings.name, &surroundings.namespace);
        let mut parameters = CertificateParams::new(vec![identity]).map_err(failed)?;
        parameters.distinguished_name = DistinguishedName::new();
        let request = parameters
            .serialize_request(&key)
            .and_then(|request| request.pem())
            .map_err(failed)?;
        Ok(Self {
            surroundings,
            operator,
            latest,
            key,
            request,
            revision: String::new(),
            renew_at: None,
            enrolled_at: runtime::clock::now(),
        })
    }

    /// The first configuration, as soon as there is one that can be used.
    pub(super) async fn first(&mut self) -> Result<Update, PodError> {
        state::write_key(
            &self.surroundings.state,
            &Zeroizing::new(self.key.serialize_pem()),
        )?;
        let mut pause = FIRST_PAUSE;
        let mut said = String::new();
        loop {
            let problem = match self.enrol().await {
                Ok(update) => return Ok(update),
                Err(problem) => problem,
            };
            if problem != said {
                tracing::warn!(problem, "not enrolled yet; tried again until it works");
                said = problem;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_FIRST_PAUSE);
        }
    }

    async fn enrol(&mut self) -> Result<Update, String> {
        let request = EnrolRequest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_request: self.request.clone(),
        };
        let answer: EnrolAnswer = self
            .operator
            .post(ENROL, &request, Duration::ZERO)
            .await
            .map_err(|error| error.to_string())?
            .ok_or("the operator answered nothing")?;
        state::write_certificates(&self.surroundings.state, &answer.certificates)
            .map_err(|error| error.to_string())?;
        self.enrolled_at = runtime::clock::now();
        self.renew_at = Some(self.enrolled_at + Duration::from_secs(answer.renew_after_seconds));
        let update = self.understand(&answer.configured)?;
        tracing::info!(
            revision = self.revision,
            groups = update.settings.len(),
            "enrolled"
        );
        Ok(update)
    }

    /// The configuration of an answer, with its files read.
    fn understand(&mut self, answer: &WatchAnswer) -> Result<Update, String> {
        let text = answer.configuration.to_string();
        let base = &self.surroundings.state;
        let mut config =
            Config::parse(&text, &base.join("configuration")).map_err(|error| error.to_string())?;
        config.base.clone_from(base);
        let settings: Vec<GroupSettings> =
            credentials::group_settings(&config).map_err(|error| error.to_string())?;
        self.revision.clone_from(&answer.revision);
        Ok(Update { config, settings })
    }

    /// Hands every later configuration on, for ever.
    pub(super) async fn follow(mut self, updates: mpsc::Sender<Update>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let now = runtime::clock::now();
            let due = self.renew_at.is_none_or(|at| now >= at)
                || renewal_helps(&self.report(), now.duration_since(self.enrolled_at));
            let result = if due {
                self.enrol().await.map(Some)
            } else {
                self.wait().await
            };
            match result {
                Ok(update) => {
                    pause = FIRST_PAUSE;
                    if let Some(update) = update
                        && updates.send(update).await.is_err()
                    {
                        return;
                    }
                }
                Err(problem) => {
                    tracing::warn!(
                        problem,
                        "no news from the operator; going on with what there is"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn wait(&mut self) -> Result<Option<Update>, String> {
        let left = self.renew_at.map_or(WAIT, |at| {
            at.saturating_duration_since(runtime::clock::now())
        });
        let wait = left.clamp(Duration::from_secs(1), WAIT);
        let request = WatchRequest {
            revision: self.revision.clone(),
            wait_seconds: u32::try_from(wait.as_secs()).unwrap_or(1),
            report: self.report(),
        };
        match self
            .operator
            .post::<WatchAnswer>(WATCH, &request, wait)
            .await
        {
            Ok(Some(answer)) => {
                let update = self.understand(&answer)?;
                tracing::info!(revision = self.revision, "a new configuration");
                Ok(Some(update))
            }
            Ok(None) => Ok(None),
            Err(Unanswered::NotReady(message)) => Err(message),
            Err(error) => Err(error.to_string()),
        }
    }

    fn report(&self) -> MemberReport {
        let report = self.latest.get();
        let groups = report.groups.iter().map(|group| GroupReport {
            group_id: group.group_id,
            registered: group.registered && report.ready,
            reason: group.reason.clone().unwrap_or_default(),
        });
        MemberReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fail_closed_active: report.guard.closed,
            clear_packets: report.guard.bypassed.values().sum(),
            groups: groups.collect(),
        }
    }
}

/// Whether a new certificate may help: the key servers refuse the one we have, as they do when its group was deleted and
/// made again.
fn renewal_helps(report: &MemberReport, age: Duration) -> bool {
    let refused = FailureKind::AuthenticationFailed.label();
    age >= REFUSED_AGE && report.groups.iter().any(|group| group.reason == refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(reason: &str) -> MemberReport {
        MemberReport {
            groups: vec![GroupReport {
                group_id: 7,
                registered: false,
                reason: reason.to_owned(),
            }],
            ..MemberReport::default()
        }
    }

    #[test]
    fn a_refused_certificate_is_renewed_but_not_again_and_again() {
        let refused = report("AuthenticationFailed");
        assert!(renewal_helps(&refused, REFUSED_AGE));
        assert!(!renewal_helps(&refused, REFUSED_AGE / 2));
        assert!(!renewal_helps(&report("NoAnswer"), REFUSED_AGE));
        assert!(!renewal_helps(&report(""), REFUSED_AGE));
    }
}
