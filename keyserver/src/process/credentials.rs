//! Certificates and keys from files, at the start and whenever the files change.

use std::path::PathBuf;
use std::sync::Arc;

use gikev2::responder;
use runtime::tls::{self, TlsFiles};
use tokio::sync::{mpsc, watch};

use super::ProcessError;
use super::watched::{PERIOD, Watched};
use crate::certificates;
use crate::config::Config;
use crate::ike;
use crate::metrics::{Metrics, UseLabel};

/// Everything read from files besides configuration and store.
pub(super) struct Credentials {
    pub(super) peer_server: rustls::ServerConfig,
    pub(super) peer_client: rustls::ClientConfig,
    pub(super) admin: rustls::ServerConfig,
    pub(super) ike: responder::Credentials,
}

impl Credentials {
    pub(super) fn load(config: &Config) -> Result<Self, ProcessError> {
        let (peer_server, peer_client) = cooperative(config)?;
        Ok(Self {
            peer_server,
            peer_client,
            admin: admin(config)?,
            ike: ike::credentials(config)?,
        })
    }
}

fn cooperative(
    config: &Config,
) -> Result<(rustls::ServerConfig, rustls::ClientConfig), ProcessError> {
    let field = |source| ProcessError::Tls {
        field: "cooperative.tls",
        source,
    };
    let files = &config.cooperative.tls;
    Ok((
        tls::server(files).map_err(field)?,
        tls::client(files).map_err(field)?,
    ))
}

fn admin(config: &Config) -> Result<rustls::ServerConfig, ProcessError> {
    tls::server(&config.admin.tls).map_err(|source| ProcessError::Tls {
        field: "admin.tls",
        source,
    })
}

/// What a set of files is for, and how to read it again.
struct Source {
    /// Label of the metric, and word of the log.
    purpose: &'static str,
    certificate: Option<PathBuf>,
    watched: Watched,
    /// What was wrong with the files at the last try, if they could not be used.
    refused: Option<String>,
}

impl Source {
    fn new(purpose: &'static str, certificate: Option<PathBuf>, files: Vec<PathBuf>) -> Self {
        Self {
            purpose,
            certificate,
            watched: Watched::new(files),
            refused: None,
        }
    }

    /// Reads the files with `load` when they changed, or when the last try failed: the files of a
    /// pair may have been written one after the other.
    fn renew<T>(
        &mut self,
        metrics: &Metrics,
        load: impl FnOnce() -> Result<T, ProcessError>,
    ) -> Option<T> {
        if !self.watched.changed() && self.refused.is_none() {
            return None;
        }
        match load() {
            Ok(renewed) => {
                self.refused = None;
                self.observe(metrics);
                tracing::info!(
                    r#use = self.purpose,
                    "credentials were replaced; connections from now on use the new ones"
                );
                Some(renewed)
            }
            Err(error) => {
                let words = error.with_causes();
                if self.refused.as_ref() != Some(&words) {
                    tracing::warn!(
                        r#use = self.purpose,
                        error = words,
                        "the changed credentials cannot be used; the old ones stay in use"
                    );
                }
                self.refused = Some(words);
                None
            }
        }
    }

    fn observe(&self, metrics: &Metrics) {
        let end = self
            .certificate
            .as_ref()
            .and_then(|path| certificates::expiry(path));
        if let Some(end) = end {
            metrics
                .certificate_expiry
                .get_or_create(&UseLabel {
                    r#use: self.purpose,
                })
                .set(end);
        }
    }
}

/// The files of all credentials, watched. Make it before [`Credentials::load`].
pub(super) struct Sources {
    cooperative: Source,
    admin: Source,
    ike: Source,
}

impl Sources {
    pub(super) fn of(config: &Config) -> Self {
        let tls = |purpose, files: &TlsFiles| {
            let TlsFiles {
                certificate,
                key,
                trust,
            } = files.clone();
            Source::new(
                purpose,
                Some(certificate.clone()),
                vec![certificate, key, trust],
            )
        };
        let authentication = &config.authentication;
        let mut ike: Vec<PathBuf> = authentication
            .pre_shared_keys_file
            .clone()
            .into_iter()
            .collect();
        let certificate = authentication.certificate.clone();
        let chain = certificate.as_ref().map(|files| files.chain_file.clone());
        if let Some(files) = certificate {
            ike.extend([files.chain_file, files.key_file, files.trust_file]);
        }
        Self {
            cooperative: tls("cooperative", &config.cooperative.tls),
            admin: tls("admin", &config.admin.tls),
            ike: Source::new("ike", chain, ike),
        }
    }

    /// Publishes when the certificates in use end.
    pub(super) fn observe(&self, metrics: &Metrics) {
        for source in [&self.cooperative, &self.admin, &self.ike] {
            source.observe(metrics);
        }
    }
}

/// Where renewed credentials go.
pub(super) struct Renewals {
    pub(super) peer_server: watch::Sender<Arc<rustls::ServerConfig>>,
    pub(super) peer_client: watch::Sender<Arc<rustls::ClientConfig>>,
    pub(super) admin: watch::Sender<Arc<rustls::ServerConfig>>,
    pub(super) ike: mpsc::Sender<responder::Credentials>,
}

/// Reads credentials again whenever their files change; a file that cannot be used changes nothing.
pub(super) async fn renew(
    config: Config,
    mut sources: Sources,
    renewals: Renewals,
    metrics: Metrics,
) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Some((server, client)) = sources.cooperative.renew(&metrics, || cooperative(&config))
        {
            renewals.peer_server.send_replace(Arc::new(server));
            renewals.peer_client.send_replace(Arc::new(client));
        }
        if let Some(server) = sources.admin.renew(&metrics, || admin(&config)) {
            renewals.admin.send_replace(Arc::new(server));
        }
        let ike = sources
            .ike
            .renew(&metrics, || Ok(ike::credentials(&config)?));
        if let Some(credentials) = ike
            && renewals.ike.send(credentials).await.is_err()
        {
            return;
        }
    }
}
