//! What administrators ask, sorted: reads are answered here, changes go to the desk.

use keyserver_api::error::{ErrorBody, ErrorCode};
use keyserver_core::server;

use super::desk::{self, Change, answer, body};
use super::{Links, Runner, status};
use crate::admin::{AdminRequest, Reply};
use crate::raft::Role;

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
            AdminRequest::StepDown(reply) => self.step_down(links, reply),
        }
    }

    fn step_down(&self, links: &Links, reply: Reply<()>) {
        if !matches!(*links.role.borrow(), Role::Primary { .. }) {
            let error = server::AdminError::NotPrimary;
            let primary = status::primary_admin_address(&links.role.borrow());
            return answer(reply, Err(error.to_body(primary)));
        }
        let handover = links.handover.clone();
        tokio::spawn(async move {
            let result = match handover.hand_over(None).await {
                Some(_) => Ok(()),
                None => Err(body(
                    ErrorCode::NoQuorum,
                    "no other key server could take over; this one stays primary".to_owned(),
                )),
            };
            answer(reply, result);
        });
    }
}

fn unknown(name: &str) -> ErrorBody {
    body(
        ErrorCode::GroupNotFound,
        format!("there is no group `{name}`"),
    )
}
