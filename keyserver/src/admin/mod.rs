//! The admin endpoint: JSON over HTTP/1.1 with mutual TLS.
//!
//! It translates between HTTP and the runner, and decides nothing. Who may use it is decided by
//! the authority in `admin.tls.clientTrustFile`.

mod routes;
mod serve;

pub use routes::router;
pub use serve::{AdminError, ENDPOINT, bind};

use keyserver_api::error::{ErrorBody, ErrorCode};
use keyserver_api::policy::GroupPolicy;
use keyserver_api::request::{
    AdmitRequest, EvictRequest, RekeyAccepted, RekeyRequest, SigningKeyExport,
    SigningKeyExportRequest, SigningKeyImportRequest, SigningKeyRotationRequest,
};
use keyserver_api::status::{GroupStatus, MemberRow, ServerStatus, SigningKeyStatus};
use tokio::sync::{mpsc, oneshot};

/// Answers one question.
pub type Reply<T> = oneshot::Sender<Result<T, ErrorBody>>;

/// What the admin endpoint asks of the runner.
pub enum AdminRequest {
    /// State of this key server.
    Status(Reply<ServerStatus>),
    /// Names of all groups.
    Groups(Reply<Vec<String>>),
    /// Sets a group's policy.
    PutGroup(Box<GroupPolicy>, Reply<GroupStatus>),
    /// State of a group.
    Group(String, Reply<GroupStatus>),
    /// Policy of a group.
    Policy(String, Reply<GroupPolicy>),
    /// Forgets a group.
    DeleteGroup(String, Reply<()>),
    /// Members of a group.
    Members(String, Reply<Vec<MemberRow>>),
    /// Makes the next keys current now.
    Rekey(String, RekeyRequest, Reply<RekeyAccepted>),
    /// Removes a member.
    Evict(String, EvictRequest, Reply<RekeyAccepted>),
    /// Lets an evicted identity register again.
    Admit(String, AdmitRequest, Reply<()>),
    /// Gives the signing key out, encrypted.
    ExportSigningKey(String, SigningKeyExportRequest, Reply<SigningKeyExport>),
    /// Takes a signing key in.
    ImportSigningKey(String, SigningKeyImportRequest, Reply<SigningKeyStatus>),
    /// Replaces the signing key by a new one.
    RotateSigningKey(String, SigningKeyRotationRequest, Reply<SigningKeyStatus>),
    /// Hands leadership on.
    StepDown(Reply<()>),
    /// Removes a key server from the group.
    RemovePeer(String, Reply<()>),
}

/// The admin endpoint's end of its channel to the runner.
#[derive(Clone)]
pub struct RunnerHandle {
    sender: mpsc::Sender<AdminRequest>,
}

impl RunnerHandle {
    /// A handle, and the runner's end.
    pub fn channel() -> (Self, mpsc::Receiver<AdminRequest>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self { sender }, receiver)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// What the runner refuses; [`ErrorCode::Internal`] when it has ended.
    pub async fn ask<T>(
        &self,
        question: impl FnOnce(Reply<T>) -> AdminRequest,
    ) -> Result<T, ErrorBody> {
        let (sender, receiver) = oneshot::channel();
        let ended = || ErrorBody {
            code: ErrorCode::Internal,
            message: "this key server is stopping; ask another one".to_owned(),
            primary: None,
        };
        self.sender
            .send(question(sender))
            .await
            .map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }
}
