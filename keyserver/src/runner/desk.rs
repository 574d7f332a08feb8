//! Answers administrators: reads at once, changes when the log has spoken.

use std::collections::BTreeMap;
use std::time::Instant;

use keyserver_api::error::{ErrorBody, ErrorCode};
use keyserver_api::policy::{GroupPolicy, ValidatedPolicy};
use keyserver_api::request::{
    RekeyAccepted, SigningKeyExport, SigningKeyExportRequest, SigningKeyImportRequest,
    SigningKeyRotationRequest,
};
use keyserver_api::status::{GroupStatus, SigningKeyStatus};
use keyserver_core::secret::SecretBytes;
use keyserver_core::server::{self, AdminAnswer, AdminTicket, KeyServer};
use keyserver_core::state::signing_key::algorithm_name;
use zeroize::Zeroizing;

use super::entropy::KernelEntropy;
use crate::admin::Reply;
use crate::signing_key::{self, SigningKeyError};

/// Who waits for the answer to a change.
enum Waiting {
    Group(String, Reply<GroupStatus>),
    Done(Reply<()>),
    Rekeyed(Reply<RekeyAccepted>),
    SigningKey(SigningKeyStatus, Reply<SigningKeyStatus>),
}

/// A signing key that was opened and may be taken in.
pub(super) struct OpenedKey {
    group: String,
    status: SigningKeyStatus,
    overwrite: bool,
    private_key: Zeroizing<Vec<u8>>,
    reply: Reply<SigningKeyStatus>,
}

/// Requests that wait for the log.
#[derive(Default)]
pub(super) struct Desk {
    waiting: BTreeMap<AdminTicket, Waiting>,
}

/// A change as it comes from the admin endpoint.
pub(super) enum Change {
    PutGroup(Box<GroupPolicy>, Reply<GroupStatus>),
    DeleteGroup(String, Reply<()>),
    Rekey(
        String,
        keyserver_api::request::RekeyRequest,
        Reply<RekeyAccepted>,
    ),
    Evict(String, String, Reply<RekeyAccepted>),
    Admit(String, String, Reply<()>),
    SigningKey(OpenedKey),
}

impl Desk {
    /// Starts a change. `primary` is the admin address of the primary, when it is known.
    pub(super) fn start(
        &mut self,
        core: &mut KeyServer,
        now: Instant,
        change: Change,
        primary: Option<String>,
    ) {
        let (request, waiting) = match change {
            Change::PutGroup(policy, reply) => match ValidatedPolicy::try_from(*policy) {
                Ok(valid) => {
                    let name = valid.get().name.clone();
                    let request = server::AdminRequest::PutGroup(Box::new(valid));
                    (request, Waiting::Group(name, reply))
                }
                Err(errors) => {
                    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    return answer(
                        reply,
                        Err(body(ErrorCode::InvalidPolicy, errors.join("; "))),
                    );
                }
            },
            Change::DeleteGroup(group, reply) => (
                server::AdminRequest::DeleteGroup { group },
                Waiting::Done(reply),
            ),
            Change::Rekey(group, rekey, reply) => {
                let request = server::AdminRequest::Rekey {
                    group,
                    replace: rekey.replace,
                    key_encryption_key: rekey.key_encryption_key,
                };
                (request, Waiting::Rekeyed(reply))
            }
            Change::Evict(group, member, reply) => (
                server::AdminRequest::Evict { group, member },
                Waiting::Rekeyed(reply),
            ),
            Change::Admit(group, member, reply) => (
                server::AdminRequest::Admit { group, member },
                Waiting::Done(reply),
            ),
            Change::SigningKey(mut opened) => {
                let request = server::AdminRequest::ImportSigningKey {
                    group: opened.group.clone(),
                    label: opened.status.label.clone(),
                    private_key: SecretBytes::new(std::mem::take(&mut *opened.private_key)),
                    overwrite: opened.overwrite,
                };
                (request, Waiting::SigningKey(opened.status, opened.reply))
            }
        };
        match core.handle_admin(now, request, &mut KernelEntropy) {
            Ok(ticket) => {
                self.waiting.insert(ticket, waiting);
            }
            Err(error) => waiting.fail(error.to_body(primary)),
        }
    }

    /// Passes on the answers that are there. `primary` as in [`Self::start`].
    pub(super) fn deliver(&mut self, core: &mut KeyServer, now: Instant, primary: Option<&String>) {
        while let Some((ticket, result)) = core.poll_admin() {
            let Some(waiting) = self.waiting.remove(&ticket) else {
                continue;
            };
            match result {
                Ok(done) => waiting.succeed(core, now, done),
                Err(error) => waiting.fail(error.to_body(primary.cloned())),
            }
        }
    }
}

impl Waiting {
    fn succeed(self, core: &KeyServer, now: Instant, done: AdminAnswer) {
        let gone = || {
            body(
                ErrorCode::GroupNotFound,
                "the group was deleted meanwhile".to_owned(),
            )
        };
        match self {
            Self::Group(name, reply) => {
                answer(reply, core.group_status(now, &name).ok_or_else(gone))
            }
            Self::Done(reply) => answer(reply, Ok(())),
            Self::Rekeyed(reply) => match done {
                AdminAnswer::Rekeyed {
                    generation,
                    members,
                } => answer(
                    reply,
                    Ok(RekeyAccepted {
                        generation,
                        members,
                    }),
                ),
                AdminAnswer::Done => answer(reply, Err(gone())),
            },
            Self::SigningKey(status, reply) => answer(reply, Ok(status)),
        }
    }

    fn fail(self, error: ErrorBody) {
        match self {
            Self::Group(_, reply) => answer(reply, Err(error)),
            Self::Done(reply) => answer(reply, Err(error)),
            Self::Rekeyed(reply) => answer(reply, Err(error)),
            Self::SigningKey(_, reply) => answer(reply, Err(error)),
        }
    }
}

/// Encrypts a group's signing key off the main task and answers.
pub(super) fn export_signing_key(
    core: &KeyServer,
    group: &str,
    request: SigningKeyExportRequest,
    reply: Reply<SigningKeyExport>,
) {
    let passphrase = Zeroizing::new(request.passphrase);
    let Some(key) = core.signing_key(group) else {
        let message = format!("group `{group}` does not exist or has no signing key yet");
        return answer(reply, Err(body(ErrorCode::GroupNotFound, message)));
    };
    let private_key = Zeroizing::new(key.private_key.as_bytes().to_vec());
    let (label, fingerprint) = (key.label.to_owned(), key.fingerprint);
    tokio::task::spawn_blocking(move || {
        let exported =
            signing_key::export(&private_key, &passphrase).map(|encrypted_pem| SigningKeyExport {
                label,
                encrypted_pem,
                fingerprint,
            });
        answer(reply, exported.map_err(|error| refusal(&error)));
    });
}

/// Opens an encrypted signing key off the main task; `opened` gets it when it is usable.
pub(super) fn open_signing_key(
    group: String,
    request: SigningKeyImportRequest,
    reply: Reply<SigningKeyStatus>,
    opened: tokio::sync::mpsc::UnboundedSender<OpenedKey>,
) {
    let passphrase = Zeroizing::new(request.passphrase);
    tokio::task::spawn_blocking(move || {
        match signing_key::import(&request.encrypted_pem, &passphrase) {
            // The receiver lives as long as the runner; then nobody waits either.
            Ok(material) => drop(opened.send(OpenedKey {
                group,
                status: SigningKeyStatus {
                    label: request.label,
                    algorithm: algorithm_name(material.algorithm).to_owned(),
                    fingerprint: signing_key::fingerprint(&material.public_key),
                },
                overwrite: request.overwrite,
                private_key: material.private_key,
                reply,
            })),
            Err(error) => answer(reply, Err(refusal(&error))),
        }
    });
}

/// Makes a signing key for a group off the main task; `made` gets it.
pub(super) fn make_signing_key(
    core: &KeyServer,
    group: String,
    request: SigningKeyRotationRequest,
    reply: Reply<SigningKeyStatus>,
    made: tokio::sync::mpsc::UnboundedSender<OpenedKey>,
) {
    let (Some(policy), Some(present)) = (core.policy(&group), core.signing_key(&group)) else {
        let message = format!("group `{group}` does not exist or has no signing key yet");
        return answer(reply, Err(body(ErrorCode::GroupNotFound, message)));
    };
    let algorithm = policy.rekey.signature;
    let label = request.label.unwrap_or_else(|| next_label(present.label));
    tokio::task::spawn_blocking(move || match signing_key::generate(algorithm) {
        // The receiver lives as long as the runner; then nobody waits either.
        Ok(material) => drop(made.send(OpenedKey {
            group,
            status: SigningKeyStatus {
                label,
                algorithm: algorithm_name(algorithm).to_owned(),
                fingerprint: signing_key::fingerprint(&material.public_key),
            },
            overwrite: false,
            private_key: material.private_key,
            reply,
        })),
        Err(error) => answer(reply, Err(body(ErrorCode::Unknown, error.to_string()))),
    });
}

/// The label with the next number at its end: `wan`, `wan-2`, `wan-3`.
fn next_label(present: &str) -> String {
    let counted = present.rsplit_once('-').and_then(|(name, number)| {
        let number: u32 = number.parse().ok()?;
        Some((name, number))
    });
    match counted {
        Some((name, number)) if number >= 2 => format!("{name}-{}", number.saturating_add(1)),
        _ => format!("{present}-2"),
    }
}

/// Answers; an administrator who has gone needs none.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, ErrorBody>) {
    drop(reply.send(result));
}

pub(super) fn body(code: ErrorCode, message: String) -> ErrorBody {
    ErrorBody {
        code,
        message,
        primary: None,
    }
}

fn refusal(error: &SigningKeyError) -> ErrorBody {
    body(ErrorCode::InvalidSigningKey, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::next_label;

    #[test]
    fn labels_count_on_and_a_name_that_ends_with_a_number_keeps_it() {
        assert_eq!(next_label("wan"), "wan-2");
        assert_eq!(next_label("wan-2"), "wan-3");
        assert_eq!(next_label("site-1"), "site-1-2");
        assert_eq!(next_label("a-b"), "a-b-2");
    }
}
