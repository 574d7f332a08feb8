//! What administrators ask for, and the answers when the log has spoken.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use gikev2::Entropy;
use keyserver_api::error::{ErrorBody, ErrorCode};
use keyserver_api::policy::{GroupPolicy, SignatureAlgorithm, ValidatedPolicy};

use super::changes::Wanted;
use super::{KeyServer, Role};
use crate::command::{Action, CommandKey, SetSigningKey};
use crate::outcome::{Outcome, Refused};
use crate::rekey::plan::Change;
use crate::rekey::signing;
use crate::secret::SecretBytes;

/// Names a request until its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdminTicket(u64);

/// A change an administrator asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum AdminRequest {
    /// Sets a group's policy, making the group when it is new.
    PutGroup(Box<ValidatedPolicy>),
    /// Forgets a group.
    DeleteGroup {
        /// Its name.
        group: String,
    },
    /// Makes the next keys current now.
    Rekey {
        /// Name of the group.
        group: String,
        /// Whether all old keys are deleted.
        replace: bool,
        /// Whether the key encryption key is replaced first.
        key_encryption_key: bool,
    },
    /// Excludes a member.
    Evict {
        /// Name of the group.
        group: String,
        /// Identity or registration ID.
        member: String,
    },
    /// Lets an evicted identity register again.
    Admit {
        /// Name of the group.
        group: String,
        /// Identity.
        member: String,
    },
    /// Sets the signing key.
    ImportSigningKey {
        /// Name of the group.
        group: String,
        /// Label of the key.
        label: String,
        /// PKCS#8 DER.
        private_key: SecretBytes,
        /// Whether a different key of the same label is replaced.
        overwrite: bool,
    },
}

/// A request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    /// Done.
    Done,
    /// Keys changed; delivery goes on.
    Rekeyed {
        /// Generation of the group afterwards.
        generation: u64,
        /// Members that are told.
        members: u32,
    },
}

/// A request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Only the primary does this.
    #[error("this key server is not the primary")]
    NotPrimary,
    /// Nobody can do it now.
    #[error("no quorum of key servers can be reached; nothing was changed")]
    NoQuorum,
    /// No such group.
    #[error("there is no group {0:?}")]
    GroupNotFound(String),
    /// No such member.
    #[error(
        "there is no member {member:?} in group {group:?}; the member list shows identities and registration IDs"
    )]
    MemberNotFound {
        /// Name of the group.
        group: String,
        /// The member.
        member: String,
    },
    /// The group has no keys yet.
    #[error("group {0:?} has no keys yet; it gets them as soon as its signing key is made")]
    NoKeys(String),
    /// The key cannot sign for the group.
    #[error("the signing key is not a PKCS#8 key for {0}")]
    SigningKey(&'static str),
    /// The log refused.
    #[error("{0}")]
    Refused(Refused),
    /// The change could not be planned.
    #[error("the rekey could not be made: {0}")]
    Plan(String),
}

impl AdminError {
    /// The body of the API's answer. `primary` is the admin address of the primary, when it is another one.
    pub fn to_body(&self, primary: Option<String>) -> ErrorBody {
        let code = match self {
            Self::NotPrimary => ErrorCode::NotPrimary,
            Self::NoQuorum => ErrorCode::NoQuorum,
            Self::GroupNotFound(_) | Self::Refused(Refused::GroupNotFound) => {
                ErrorCode::GroupNotFound
            }
            Self::MemberNotFound { .. } => ErrorCode::MemberNotFound,
            Self::NoKeys(_) | Self::Refused(Refused::NoKeys) => ErrorCode::Superseded,
            Self::SigningKey(_) => ErrorCode::InvalidSigningKey,
            Self::Refused(Refused::SigningKeyConflict) => ErrorCode::SigningKeyConflict,
            Self::Refused(Refused::GroupIdTaken | Refused::GroupIdImmutable) => {
                ErrorCode::InvalidPolicy
            }
            Self::Refused(_) | Self::Plan(_) => ErrorCode::Internal,
        };
        ErrorBody {
            code,
            message: self.to_string(),
            primary: primary.filter(|_| code == ErrorCode::NotPrimary),
        }
    }
}

/// Requests that wait for the log.
#[derive(Debug, Default)]
pub(super) struct AdminDesk {
    issued: u64,
    waiting: BTreeMap<AdminTicket, Option<CommandKey>>,
    answers: VecDeque<(AdminTicket, Result<AdminAnswer, AdminError>)>,
}

impl AdminDesk {
    fn issue(&mut self, key: Option<CommandKey>) -> AdminTicket {
        self.issued += 1;
        let ticket = AdminTicket(self.issued);
        self.waiting.insert(ticket, key);
        ticket
    }

    pub(super) fn answer(&mut self, ticket: AdminTicket, answer: Result<AdminAnswer, AdminError>) {
        if self.waiting.remove(&ticket).is_some() {
            self.answers.push_back((ticket, answer));
        }
    }

    /// A command that is not a rekey was applied.
    pub(super) fn settle(&mut self, key: &CommandKey, outcome: &Outcome) {
        let Some(ticket) = self
            .waiting
            .iter()
            .find(|(_, of)| of.as_ref() == Some(key))
            .map(|(ticket, _)| *ticket)
        else {
            return;
        };
        let answer = match outcome {
            Outcome::Refused(refused) => Err(AdminError::Refused(*refused)),
            // A group that got its keys meanwhile: the administrator asks again.
            Outcome::Superseded => Err(AdminError::Plan("the group changed meanwhile".to_owned())),
            Outcome::Done | Outcome::Registered { .. } | Outcome::Rekeyed { .. } => {
                Ok(AdminAnswer::Done)
            }
        };
        self.answer(ticket, answer);
    }

    pub(super) fn fail_all(&mut self, error: &AdminError) {
        let tickets: Vec<AdminTicket> = self.waiting.keys().copied().collect();
        tickets
            .into_iter()
            .for_each(|ticket| self.answer(ticket, Err(error.clone())));
    }
}

impl KeyServer {
    /// Takes in an administrator's request. The answer comes from [`Self::poll_admin`] under the ticket.
    ///
    /// # Errors
    /// [`AdminError`] when it is clear at once that nothing will be done.
    pub fn handle_admin(
        &mut self,
        now: Instant,
        request: AdminRequest,
        entropy: &mut dyn Entropy,
    ) -> Result<AdminTicket, AdminError> {
        match self.role {
            Role::Primary => {}
            Role::Secondary { .. } => return Err(AdminError::NotPrimary),
            Role::NoQuorum => return Err(AdminError::NoQuorum),
        }
        let ticket = match request {
            AdminRequest::PutGroup(policy) => self.put_group(now, policy.into_inner(), entropy),
            AdminRequest::DeleteGroup { group } => {
                let (group_id, _) = self.group_of(&group)?;
                self.propose_for_admin(now, Action::DeleteGroup { group_id }, entropy)
            }
            AdminRequest::Rekey {
                group,
                replace,
                key_encryption_key,
            } => {
                let group_id = self.group_with_keys(&group)?;
                if key_encryption_key {
                    self.want(
                        group_id,
                        Wanted {
                            change: Change::KeyEncryptionKey,
                            ticket: None,
                        },
                    );
                }
                self.want_for_admin(group_id, Change::Trigger { replace })
            }
            AdminRequest::Evict { group, member } => {
                let group_id = self.group_with_keys(&group)?;
                let (_, state) = self.group_of(&group)?;
                let registration_id = state
                    .members
                    .named(&member)
                    .map(|found| found.registration_id)
                    .ok_or(AdminError::MemberNotFound { group, member })?;
                self.want_for_admin(group_id, Change::Evict { registration_id })
            }
            AdminRequest::Admit { group, member } => {
                let (group_id, state) = self.group_of(&group)?;
                let identity = state
                    .members
                    .evicted()
                    .iter()
                    .find(|identity| identity.is_named(&member))
                    .cloned()
                    .ok_or(AdminError::MemberNotFound { group, member })?;
                self.propose_for_admin(now, Action::Admit { group_id, identity }, entropy)
            }
            AdminRequest::ImportSigningKey {
                group,
                label,
                private_key,
                overwrite,
            } => {
                let (group_id, state) = self.group_of(&group)?;
                let algorithm = state.policy.rekey.signature;
                let change =
                    signing_key_change(group_id, label, algorithm, private_key, overwrite)?;
                self.propose_for_admin(now, Action::SetSigningKey(change), entropy)
            }
        };
        self.advance(now, entropy);
        Ok(ticket)
    }

    /// Takes in the signing key that [`AuditEvent::SigningKeyNeeded`](crate::audit::AuditEvent::SigningKeyNeeded)
    /// asked for: PKCS#8 DER.
    ///
    /// # Errors
    /// [`AdminError::SigningKey`] when it cannot sign with the group's algorithm.
    pub fn handle_signing_key(
        &mut self,
        now: Instant,
        group_id: u32,
        label: String,
        private_key: SecretBytes,
        entropy: &mut dyn Entropy,
    ) -> Result<(), AdminError> {
        let group = self
            .state
            .group(group_id)
            .ok_or_else(|| AdminError::GroupNotFound(group_id.to_string()))?;
        let algorithm = group.policy.rekey.signature;
        let change = signing_key_change(group_id, label, algorithm, private_key, false)?;
        self.propose(now, Action::SetSigningKey(change), entropy);
        Ok(())
    }

    /// The next answer to a request.
    pub fn poll_admin(&mut self) -> Option<(AdminTicket, Result<AdminAnswer, AdminError>)> {
        self.desk.answers.pop_front()
    }

    fn put_group(
        &mut self,
        now: Instant,
        policy: GroupPolicy,
        entropy: &mut dyn Entropy,
    ) -> AdminTicket {
        let known = self.state.group(policy.group_id);
        match known.filter(|group| group.policy.name == policy.name && group.rekey_sa.is_some()) {
            Some(_) => self.want_for_admin(policy.group_id, Change::Policy(Box::new(policy))),
            None => self.propose_for_admin(now, Action::PutGroup(Box::new(policy)), entropy),
        }
    }

    fn want_for_admin(&mut self, group_id: u32, change: Change) -> AdminTicket {
        let ticket = self.desk.issue(None);
        self.want(
            group_id,
            Wanted {
                change,
                ticket: Some(ticket),
            },
        );
        ticket
    }

    fn propose_for_admin(
        &mut self,
        now: Instant,
        action: Action,
        entropy: &mut dyn Entropy,
    ) -> AdminTicket {
        let key = self.propose(now, action, entropy);
        self.desk.issue(Some(key))
    }

    fn group_of(&self, name: &str) -> Result<(u32, &crate::state::group::Group), AdminError> {
        self.state
            .group_named(name)
            .ok_or_else(|| AdminError::GroupNotFound(name.to_owned()))
    }

    fn group_with_keys(&self, name: &str) -> Result<u32, AdminError> {
        let (group_id, group) = self.group_of(name)?;
        if group.rekey_sa.is_none() {
            return Err(AdminError::NoKeys(name.to_owned()));
        }
        Ok(group_id)
    }
}

fn signing_key_change(
    group_id: u32,
    label: String,
    algorithm: SignatureAlgorithm,
    private_key: SecretBytes,
    overwrite: bool,
) -> Result<SetSigningKey, AdminError> {
    let public_key = signing::public_key(&private_key, algorithm).map_err(|_| {
        AdminError::SigningKey(crate::state::signing_key::algorithm_name(algorithm))
    })?;
    Ok(SetSigningKey {
        group_id,
        label,
        algorithm,
        private_key,
        public_key,
        overwrite,
    })
}
