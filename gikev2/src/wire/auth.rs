//! Authentication payload (RFC 7296 §3.8, RFC 7427 §3).

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::AuthenticationMethod;
use super::writer::{Writer, length_u8};

/// Proof of identity, or in a GSA_REKEY of origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Method 2: the MIC made with a pre-shared key (RFC 7296 §2.15).
    SharedKey(Vec<u8>),
    /// Method 14: a digital signature that names its algorithm (RFC 7427 §3).
    Signature {
        /// DER AlgorithmIdentifier, at most 255 octets.
        algorithm_identifier: Vec<u8>,
        /// Signature value; for ECDSA a DER SEQUENCE.
        signature: Vec<u8>,
    },
    /// Any other method; we accept none of them.
    Other {
        /// The method.
        method: AuthenticationMethod,
        /// Its data.
        data: Vec<u8>,
    },
}

impl Authentication {
    /// The method number.
    pub fn method(&self) -> AuthenticationMethod {
        match self {
            Self::SharedKey(_) => AuthenticationMethod::SHARED_KEY,
            Self::Signature { .. } => AuthenticationMethod::DIGITAL_SIGNATURE,
            Self::Other { method, .. } => *method,
        }
    }

    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let method = AuthenticationMethod(reader.u8("authentication method")?);
        reader.take("authentication reserved", 3)?;
        match method {
            AuthenticationMethod::SHARED_KEY => Ok(Self::SharedKey(reader.take_rest().to_vec())),
            AuthenticationMethod::DIGITAL_SIGNATURE => {
                let length = usize::from(reader.u8("ASN.1 length")?);
                let algorithm_identifier = reader.take("algorithm identifier", length)?.to_vec();
                Ok(Self::Signature {
                    algorithm_identifier,
                    signature: reader.take_rest().to_vec(),
                })
            }
            method => Ok(Self::Other {
                method,
                data: reader.take_rest().to_vec(),
            }),
        }
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        writer.u8(self.method().0);
        writer.bytes(&[0; 3]);
        match self {
            Self::SharedKey(data) | Self::Other { data, .. } => writer.bytes(data),
            Self::Signature {
                algorithm_identifier,
                signature,
            } => {
                writer.u8(length_u8(
                    "algorithm identifier",
                    algorithm_identifier.len(),
                )?);
                writer.bytes(algorithm_identifier);
                writer.bytes(signature);
            }
        }
        Ok(())
    }
}
