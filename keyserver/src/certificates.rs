//! When the certificates in use end.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// End of the first certificate in `path`, in seconds of UNIX time; `None` when it cannot be read.
pub fn expiry(path: &Path) -> Option<i64> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// DER of the subject of the first certificate in `path`.
pub fn subject(path: &Path) -> Option<Vec<u8>> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(certificate.subject().as_raw().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("c.pem");
        let key = rcgen::KeyPair::generate().expect("key");
        let mut params =
            rcgen::CertificateParams::new(vec!["ks-0".to_owned()]).expect("parameters");
        params.not_after = rcgen::date_time_ymd(2031, 1, 2);
        let certificate = params.self_signed(&key).expect("certificate");
        std::fs::write(&path, certificate.pem()).expect("written");
        assert_eq!(expiry(&path), Some(1_925_078_400));
        assert!(subject(&path).is_some());
        assert_eq!(expiry(&directory.path().join("absent.pem")), None);
    }
}
