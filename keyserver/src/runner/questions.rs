//! What administrators ask, sorted: reads are answered here, changes go to the desk.

use std::time::Duration;

use keyserver_api::error::{ErrorBody, ErrorCode};
use keyserver_core::server;

use super::desk::{self, Change, answer, body};
use super::{Links, Runner, status};
use crate::admin::{AdminRequest, Reply};
use crate::raft::{RemovalError, Role};

/// How long a new leader may take to prove that it leads.
const CONFIRMATION: Duration = Duration::from_secs(1);

impl Runner {
    pub(super) fn change(&mut self, links: &Links, change: Change) {
        let primary = status::primary_admin_address(&links.role.borrow());
        self.desk
            .start(&mut self.core, runtime::clock::now(), change, primary);
    }

    pub(super) fn ask(&mut self, links: &Links, question: AdminRequest) {
        let now = runtime::clock::now();
        match question {
            AdminRequest::Status(reply) => {
                let status = status::server(&self.core, links, &self.name, self.started, now);
                answer(reply, Ok(status));
            }
            AdminRequest::Groups(reply) => answer(reply, Ok(self.core.group_names())),
            AdminRequest::Group(name, reply) => {
                answer(
                    reply,
                    self.core
                        .group_status(now, &name)
                        .ok_or_else(|| unknown(&name)),
                );
            }
            AdminRequest::Policy(name, reply) => {
                answer(
                    reply,
                    self.core
                        .policy(&name)
                        .cloned()
                        .ok_or_else(|| unknown(&name)),
                );
            }
            AdminRequest::Members(name, reply) => {
                answer(
                    reply,
                    self.core.members(&name).ok_or_else(|| unknown(&name)),
                );
            }
            AdminRequest::PutGroup(policy, reply) => {
                self.change(links, Change::PutGroup(policy, reply));
            }
            AdminRequest::DeleteGroup(name, reply) => {
                self.change(links, Change::DeleteGroup(name, reply));
            }
            AdminRequest::Rekey(name, request, reply) => {
                self.change(links, Change::Rekey(name, request, reply));
            }
            AdminRequest::Evict(name, request, reply) => {
                self.change(links, Change::Evict(name, request.member, reply));
            }
            AdminRequest::Admit(name, request, reply) => {
                self.change(links, Change::Admit(name, request.member, reply));
            }
            AdminRequest::ExportSigningKey(name, request, reply) => {
                tracing::info!(group = name, "signing key export asked for");
                desk::export_signing_key(&self.core, &name, request, reply);
            }
            AdminRequest::ImportSigningKey(name, request, reply) => {
                tracing::info!(
                    group = name,
                    overwrite = request.overwrite,
                    "signing key import asked for"
                );
                desk::open_signing_key(name, request, reply, self.opened_keys.sender.clone());
            }
            AdminRequest::RotateSigningKey(name, request, reply) => {
                if let Some(error) = not_primary(&links.role.borrow()) {
                    return answer(reply, Err(error));
                }
                tracing::info!(group = name, "signing key rotation asked for");
                let made = self.opened_keys.sender.clone();
                desk::make_signing_key(&self.core, name, request, reply, made);
            }
            AdminRequest::StepDown(reply) => self.step_down(links, reply),
            AdminRequest::RemovePeer(name, reply) => self.remove_peer(links, name, reply),
        }
    }

    fn step_down(&self, links: &Links, reply: Reply<()>) {
        if let Some(error) = not_primary(&links.role.borrow()) {
            return answer(reply, Err(error));
        }
        let handover = links.handover.clone();
        tokio::spawn(async move {
            let result = handover.hand_over().await.map(drop);
            answer(reply, result.ok_or_else(nobody_takes_over));
        });
    }

    fn remove_peer(&self, links: &Links, name: String, reply: Reply<()>) {
        let (handover, remover) = (links.handover.clone(), links.remover.clone());
        let (raft, mut role) = (links.raft.clone(), links.role.clone());
        tokio::spawn(async move {
            // One that has just taken over from the key server that is to go proves itself first.
            if raft.is_leader() {
                let proven = role.wait_for(|role| matches!(role, Role::Primary { .. }));
                // Without it the next line answers.
                let _ = tokio::time::timeout(CONFIRMATION, proven).await;
            }
            if let Some(error) = not_primary(&role.borrow().clone()) {
                return answer(reply, Err(error));
            }
            tracing::info!(key_server = name, "removal of a key server asked for");
            let result = match remover.remove(&name).await {
                Ok(()) => {
                    tracing::info!(key_server = name, "key server removed from the group");
                    Ok(())
                }
                // It leads: the next primary removes it, and the asker is told who that is.
                Err(RemovalError::Leads(_)) => Err(match handover.hand_over().await {
                    Some(next) => ErrorBody {
                        code: ErrorCode::NotPrimary,
                        message: format!(
                            "{name} led and handed leadership to {}; ask that one to remove it",
                            next.name
                        ),
                        primary: Some(next.admin_address),
                    },
                    None => nobody_takes_over(),
                }),
                Err(error @ RemovalError::NotPrimary) => {
                    Err(body(ErrorCode::NotPrimary, error.to_string()))
                }
                Err(error @ RemovalError::Unknown(_)) => {
                    Err(body(ErrorCode::PeerNotFound, error.to_string()))
                }
                Err(error @ RemovalError::Unfinished(_)) => {
                    Err(body(ErrorCode::Unknown, error.to_string()))
                }
            };
            answer(reply, result);
        });
    }
}

/// The refusal of a key server that does not lead.
fn not_primary(role: &Role) -> Option<ErrorBody> {
    (!matches!(role, Role::Primary { .. }))
        .then(|| server::AdminError::NotPrimary.to_body(status::primary_admin_address(role)))
}

fn nobody_takes_over() -> ErrorBody {
    body(
        ErrorCode::NoQuorum,
        "no other key server could take over; this one stays primary".to_owned(),
    )
}

fn unknown(name: &str) -> ErrorBody {
    body(
        ErrorCode::GroupNotFound,
        format!("there is no group `{name}`"),
    )
}
