//! The resources of a file, judged like in a cluster.

use std::path::Path;

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use keyserver_api::policy::GroupPolicy;
use operator_core::{group, policy};

use super::error::LabError;

/// Everything a file holds.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The groups.
    pub groups: Vec<GetVpnGroup>,
    /// The security associations.
    pub security_associations: Vec<SecurityAssociation>,
    /// The members.
    pub members: Vec<GroupMember>,
}

impl Resources {
    /// Reads a file and checks each object as the API server would.
    ///
    /// # Errors
    /// All mistakes, with line, document and field; or that the file cannot be read, or has no group.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path).map_err(LabError::file("read", path))?;
        let manifests = crds::load(&path.display().to_string(), &text)
            .map_err(|errors| LabError::Usage(errors.to_string()))?;
        if manifests.groups.is_empty() {
            return Err(LabError::Usage(format!(
                "{}: there is no GetVpnGroup in this file",
                path.display()
            )));
        }
        Ok(Self {
            groups: manifests.groups,
            security_associations: manifests.security_associations,
            members: manifests.members,
        })
    }

    /// The policy of one group, from its accepted objects.
    ///
    /// # Errors
    /// When an object is not accepted: a lab runs all of a file or nothing of it.
    pub fn policy(&self, name: &str) -> Result<GroupPolicy, LabError> {
        let refused = |rejections: Vec<group::Rejection>| {
            let lines: Vec<String> = rejections.iter().map(ToString::to_string).collect();
            LabError::Usage(lines.join("\n"))
        };
        let resource = self
            .groups
            .iter()
            .find(|group| group.metadata.name.as_deref() == Some(name))
            .ok_or_else(|| {
                LabError::Usage(format!("there is no GetVpnGroup `{name}` in this file"))
            })?;
        let validated = group::validate(resource, &self.security_associations).map_err(refused)?;
        if !validated.rejections.is_empty() {
            return Err(refused(validated.rejections));
        }
        policy::build(&validated)
            .map_err(|error| LabError::Usage(format!("GetVpnGroup `{name}`: {error}")))
    }
}
