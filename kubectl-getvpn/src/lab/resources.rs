//! The resources of a file, judged like in a cluster.

use std::path::Path;

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use keyserver_api::policy::GroupPolicy;
use operator_core::{namespace, policy};

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
    /// Reads a file and judges its objects as the API server and the operator would, each alone
    /// and all together.
    ///
    /// # Errors
    /// All mistakes, with line, document and field; or that the file cannot be read, or has no
    /// group. A lab runs all of a file or nothing of it.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| LabError::Usage(format!("cannot read {file}: {error}")))?;
        let manifests =
            crds::load(&file, &text).map_err(|errors| LabError::Usage(errors.to_string()))?;
        let resources = Self {
            groups: manifests.groups,
            security_associations: manifests.security_associations,
            members: manifests.members,
        };
        if resources.groups.is_empty() {
            return Err(LabError::Usage(format!(
                "{file}: there is no GetVpnGroup in this file"
            )));
        }
        let judgement = resources.judge();
        let findings: Vec<String> = judgement
            .rejections()
            .map(|rejection| format!("{file}: {rejection}"))
            .collect();
        if findings.is_empty() {
            Ok(resources)
        } else {
            Err(LabError::Usage(findings.join("\n")))
        }
    }

    fn judge(&self) -> namespace::Judgement<'_> {
        namespace::validate(&self.groups, &self.security_associations, &self.members)
    }

    /// The policy of one group, from its accepted objects.
    ///
    /// # Errors
    /// When the file has no such group, or its policy breaks a rule of the key servers.
    pub fn policy(&self, name: &str) -> Result<GroupPolicy, LabError> {
        let judgement = self.judge();
        let validated = judgement.group(name).ok_or_else(|| {
            LabError::Usage(format!("there is no GetVpnGroup `{name}` in this file"))
        })?;
        policy::build(validated)
            .map_err(|error| LabError::Usage(format!("GetVpnGroup `{name}`: {error}")))
    }
}
