//! Mutual TLS from PEM files, with aws-lc-rs as the only cryptography provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Where a process finds its TLS credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificate chain, end-entity certificate first.
    pub certificate: PathBuf,
    /// PEM private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
    /// PEM certificates of the authorities that may have issued the peer's certificate.
    pub trust: PathBuf,
}

/// Why TLS credentials cannot be used. Each message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or holds no usable PEM.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        cause: String,
    },
    /// Certificate and key do not fit together, or the library refuses them.
    #[error("{} with {}: {cause}", certificate.display(), key.display())]
    Credentials {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The library's reason.
        cause: String,
    },
}

/// The provider used for every connection.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A server that requires a client certificate from an authority in `files.trust`.
///
/// # Errors
/// [`TlsError`], naming the file.
pub fn server(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let roots = Arc::new(trust(&files.trust)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| file_error(&files.trust, error))?;
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| credentials_error(files, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&files.certificate)?, key(&files.key)?)
        .map_err(|error| credentials_error(files, error))
}

/// A client that presents its certificate and checks the server against `files.trust`.
///
/// # Errors
/// [`TlsError`], naming the file.
pub fn client(files: &TlsFiles) -> Result<ClientConfig, TlsError> {
    let roots = Arc::new(trust(&files.trust)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| file_error(&files.trust, error))?;
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| credentials_error(files, error))?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain(&files.certificate)?, key(&files.key)?)
        .map_err(|error| credentials_error(files, error))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| file_error(path, error))?
        .collect::<Result<_, _>>()
        .map_err(|error| file_error(path, error))?;
    if chain.is_empty() {
        return Err(file_error(path, "holds no PEM certificate"));
    }
    Ok(chain)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| file_error(path, error))
}

fn trust(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots
            .add(certificate)
            .map_err(|error| file_error(path, error))?;
    }
    Ok(roots)
}

fn file_error(path: &Path, cause: impl ToString) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

fn credentials_error(files: &TlsFiles, cause: impl ToString) -> TlsError {
    TlsError::Credentials {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("temporary file");
        path
    }

    #[test]
    fn a_self_signed_pair_loads_for_both_ends() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let issued = rcgen::generate_simple_self_signed(["ks-0".to_owned()]).expect("certificate");
        let certificate = write(directory.path(), "c.pem", &issued.cert.pem());
        let key = write(
            directory.path(),
            "k.pem",
            &issued.signing_key.serialize_pem(),
        );
        let files = TlsFiles {
            certificate: certificate.clone(),
            key,
            trust: certificate,
        };
        assert!(server(&files).is_ok());
        assert!(client(&files).is_ok());
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = write(directory.path(), "empty.pem", "nothing here\n");
        let error = trust(&path).expect_err("no certificate inside");
        assert_eq!(
            error.to_string(),
            format!("{}: holds no PEM certificate", path.display())
        );
    }
}
