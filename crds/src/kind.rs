//! The three kinds, for code that treats them alike.

use std::fmt;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::generate::manifest;
use crate::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};

/// One of our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`GetVpnGroup`].
    GetVpnGroup,
    /// [`SecurityAssociation`].
    SecurityAssociation,
    /// [`GroupMember`].
    GroupMember,
}

impl Kind {
    /// All kinds, in the order in which they are best read.
    pub const ALL: [Self; 3] = [
        Self::GetVpnGroup,
        Self::SecurityAssociation,
        Self::GroupMember,
    ];

    /// The name users write after `kind:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetVpnGroup => "GetVpnGroup",
            Self::SecurityAssociation => "SecurityAssociation",
            Self::GroupMember => "GroupMember",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The definition as the derive makes it, before our own changes.
    pub(crate) fn definition(self) -> CustomResourceDefinition {
        match self {
            Self::GetVpnGroup => GetVpnGroup::crd(),
            Self::SecurityAssociation => SecurityAssociation::crd(),
            Self::GroupMember => GroupMember::crd(),
        }
    }

    /// The schema of an object of this kind, as in its manifest.
    #[must_use]
    pub fn schema(self) -> &'static Value {
        static SCHEMAS: LazyLock<[Value; 3]> = LazyLock::new(|| {
            Kind::ALL.map(|kind| {
                manifest(kind)
                    .pointer("/spec/versions/0/schema/openAPIV3Schema")
                    .cloned()
                    .expect("the derive gives every definition one version with a schema")
            })
        });
        let [group, association, member] = &*SCHEMAS;
        match self {
            Self::GetVpnGroup => group,
            Self::SecurityAssociation => association,
            Self::GroupMember => member,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
