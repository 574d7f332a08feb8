//! Orderly end on SIGTERM or SIGINT.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells every task of a process that it should end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    receiver: watch::Receiver<bool>,
}

/// Ends a process from within, for example on request of an administrator.
#[derive(Clone, Debug)]
pub struct Trigger {
    sender: watch::Sender<bool>,
}

impl Trigger {
    /// Asks every task to end; later calls do nothing.
    pub fn fire(&self) {
        self.sender.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown that only its [`Trigger`] starts.
    pub fn manual() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger { sender }, Self { receiver })
    }

    /// A shutdown started by SIGTERM, SIGINT or its [`Trigger`]. Call inside a tokio runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<(Trigger, Self)> {
        let (trigger, shutdown) = Self::manual();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let on_signal = trigger.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            on_signal.fire();
        });
        Ok((trigger, shutdown))
    }

    /// Whether the process should end.
    pub fn requested(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Completes when the process should end. Cancel-safe.
    pub async fn wait(&mut self) {
        // An error means that every trigger is gone: nobody can ask any more, so wait for ever.
        if self
            .receiver
            .wait_for(|requested| *requested)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_trigger() {
        let (trigger, mut first) = Shutdown::manual();
        let mut second = first.clone();
        assert!(!first.requested());
        trigger.fire();
        first.wait().await;
        second.wait().await;
        assert!(second.requested());
    }
}
