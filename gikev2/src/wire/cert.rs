//! Certificate and Certificate Request payloads (RFC 7296 §3.6, §3.7).

use super::error::ParseError;
use super::reader::Reader;
use super::registry::CertificateEncoding;
use super::writer::Writer;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Encoding; we use [`CertificateEncoding::X509_SIGNATURE`].
    pub encoding: CertificateEncoding,
    /// For X.509: one DER certificate.
    pub data: Vec<u8>,
}

/// A request for certificates of some authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Encoding of the certificates wanted.
    pub encoding: CertificateEncoding,
    /// For X.509: concatenated SHA-1 hashes of the trusted authorities' SubjectPublicKeyInfo; may be empty.
    pub authorities: Vec<u8>,
}

impl Certificate {
    /// An X.509 certificate, DER.
    pub fn x509(der: &[u8]) -> Self {
        Self {
            encoding: CertificateEncoding::X509_SIGNATURE,
            data: der.to_vec(),
        }
    }

    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            encoding: CertificateEncoding(reader.u8("certificate encoding")?),
            data: reader.take_rest().to_vec(),
        })
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u8(self.encoding.0);
        writer.bytes(&self.data);
    }
}

impl CertificateRequest {
    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            encoding: CertificateEncoding(reader.u8("certificate request encoding")?),
            authorities: reader.take_rest().to_vec(),
        })
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u8(self.encoding.0);
        writer.bytes(&self.authorities);
    }
}
