//! Field types shared by the three kinds: references, addresses, port ranges, and the defaults and
//! schemas they have in common.
//!
//! A type here is a string or an object whose form the API server itself checks: its schema carries
//! the bounds and the CEL rule, so no controller meets a malformed value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Gives a number as the default of a field: `#[serde(default = "int::<10>")]`.
pub(crate) fn int<const VALUE: i32>() -> i32 {
    VALUE
}

/// Gives a 64-bit number as the default of a field: `#[serde(default = "long::<10>")]`.
pub(crate) fn long<const VALUE: i64>() -> i64 {
    VALUE
}

/// Implements `Default` as "what an empty object becomes", so that a default is written once, on its field.
macro_rules! default_is_empty_object {
    ($($name:ty),+ $(,)?) => {$(
        impl Default for $name {
            fn default() -> Self {
                serde_json::from_value(serde_json::Value::Object(serde_json::Map::new()))
                    .expect("every field of this type has a default or is optional")
            }
        }
    )+};
}
pub(crate) use default_is_empty_object;

/// The rule that makes `groupRef` and `groupID` immutable (C1, C25).
pub(crate) const IMMUTABLE: (&str, &str) = ("self == oldSelf", "is immutable");

/// The rule for lists that keep their order and so cannot be declared a set (C24).
pub(crate) const NO_DUPLICATES: (&str, &str) = (
    "self.all(item, self.exists_one(other, other == item))",
    "must not contain duplicates",
);

/// A reference to a GetVpnGroup in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupRef {
    /// Name of the GetVpnGroup, in the same namespace.
    #[schemars(length(min = 1, max = 49))]
    pub name: String,
}

/// A reference to a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An IP prefix without host bits, such as `10.0.0.0/8` or `fd00::/16` (C15).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cidr(pub String);

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 43,
            "x-kubernetes-validations": [{
                "rule": "isCIDR(self) && cidr(self) == cidr(self).masked()",
                "message": "must be a CIDR without host bits, for example '10.0.0.0/8'",
            }],
        })
    }
}

/// One port such as `22`, or an inclusive range such as `16384-32767` (C33).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortRange(pub String);

impl JsonSchema for PortRange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PortRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 11,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^[0-9]{1,5}(-[0-9]{1,5})?$') && \
                         self.split('-').all(port, int(port) <= 65535) && \
                         int(self.split('-')[0]) <= int(self.split('-')[size(self.split('-')) - 1])",
                "message": "must be a port or an ascending range of ports in 0-65535, for example '22' or '16384-32767'",
            }],
        })
    }
}

/// Position of a key server in its set: the number at the end of its pod's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(pub i32);

impl JsonSchema for Ordinal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Ordinal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 7 })
    }
}

/// Schema of a map of short strings with at most `MAX` entries.
pub(crate) fn string_map<const MAX: u32>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX,
        "additionalProperties": { "type": "string", "maxLength": 1024 },
    })
}

/// Schema of a map of resource quantities, as in a container's `resources`.
pub(crate) fn quantity_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{ "rule": POSITIVE_QUANTITY.0, "message": POSITIVE_QUANTITY.1 }],
        },
    })
}

/// The rule for a Kubernetes quantity such as `500m`, `1Gi` or `2` (C50).
pub(crate) const POSITIVE_QUANTITY: (&str, &str) = (
    "isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
    "must be a quantity greater than 0, for example '1Gi' or '500m'",
);

/// The rule for the names of rules and flows (C51).
pub(crate) const LABEL: (&str, &str) = (
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "must contain only lower-case letters, digits and '-', and start and end with a letter or digit",
);

/// A map from name to text.
pub type StringMap = BTreeMap<String, String>;

/// What a container asks of its node and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the container is guaranteed, by resource name: `cpu`, `memory`, `ephemeral-storage`.
    /// Values are quantities written as strings, such as `500m` or `128Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantity_map")]
    pub requests: StringMap,
    /// What the container may use at most, by resource name. Values are quantities written as strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantity_map")]
    pub limits: StringMap,
}

impl Resources {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}
