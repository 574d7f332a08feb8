//! Schemas of what every status has: conditions, the observed generation and points in time.

use schemars::{Schema, SchemaGenerator, json_schema};

/// What `observedGeneration` is before any controller has looked at the object. Tools that judge
/// health (kstatus, Flux, `helm --wait`) then see that the object is not finished.
pub const NEVER_OBSERVED: i64 = -1;

/// Gives [`NEVER_OBSERVED`] as a field's default.
pub(crate) fn never_observed() -> i64 {
    NEVER_OBSERVED
}

/// Schema of `conditions`: the standard `meta/v1` Condition, keyed by type, with its usual bounds.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "description": "Which aspect of the object this is about.",
                    "type": "string",
                    "maxLength": 316,
                },
                "status": {
                    "description": "Whether the aspect holds: True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "Why, in one CamelCase word that programs may rely on.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                },
                "message": {
                    "description": "Why, in words for people.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "lastTransitionTime": {
                    "description": "When `status` last changed.",
                    "type": "string",
                    "format": "date-time",
                },
                "observedGeneration": {
                    "description": "`metadata.generation` this condition was computed for.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "maximum": MAXIMUM_GENERATION,
                },
            },
        },
    })
}

/// Schema of `observedGeneration`.
pub(crate) fn observed_generation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int64",
        "minimum": NEVER_OBSERVED,
        "maximum": MAXIMUM_GENERATION,
    })
}

/// Schema of a point in time.
pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// Largest generation a JSON number carries exactly.
const MAXIMUM_GENERATION: i64 = (1 << 53) - 1;
