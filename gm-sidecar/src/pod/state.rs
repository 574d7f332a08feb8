//! The directory in memory that holds the member's key, certificates and nothing else that is secret.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use operator_api::enrolment::GroupCertificate;
use operator_api::pod as place;

use super::PodError;

/// Writes the key.
pub(super) fn write_key(directory: &Path, pem: &str) -> Result<(), PodError> {
    replace(&directory.join(place::KEY_FILE), pem)
}

/// Writes the certificates of every group.
pub(super) fn write_certificates(
    directory: &Path,
    certificates: &[GroupCertificate],
) -> Result<(), PodError> {
    for certificate in certificates {
        let group = directory.join(&certificate.group);
        // Names come from the API server, which lets no path through; this is for the case that it does.
        if Path::new(&certificate.group).components().count() != 1 || certificate.group == ".." {
            return Err(PodError::File {
                path: group,
                cause: "is no name of a group".to_owned(),
            });
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&group)
            .map_err(|error| fault(&group, &error))?;
        replace(&group.join(place::CHAIN_FILE), &certificate.chain)?;
        replace(&group.join(place::GROUP_TRUST_FILE), &certificate.trust)?;
    }
    Ok(())
}

/// Readers see the old file or the new one, never a part.
fn replace(path: &Path, text: &str) -> Result<(), PodError> {
    let new = path.with_extension("new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(|error| fault(path, &error))
}

fn fault(path: &Path, error: &std::io::Error) -> PodError {
    PodError::File {
        path: path.to_owned(),
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn certificate(group: &str) -> GroupCertificate {
        GroupCertificate {
            group: group.to_owned(),
            chain: "chain".to_owned(),
            trust: "trust".to_owned(),
        }
    }

    #[test]
    fn files_are_for_their_owner_and_stay_below_the_directory() {
        let directory = tempfile::tempdir().expect("directory");
        write_key(directory.path(), "key").expect("written");
        write_certificates(directory.path(), &[certificate("voice")]).expect("written");
        for file in ["member.key", "voice/chain.pem", "voice/trust.pem"] {
            let mode = fs::metadata(directory.path().join(file))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        for outside in ["../x", "..", "a/b", "/etc"] {
            let result = write_certificates(directory.path(), &[certificate(outside)]);
            assert!(result.is_err(), "{outside}");
        }
    }
}
