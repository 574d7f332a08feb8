//! What every schema must keep to, so that the API server accepts it and people are told what they did wrong.

use crds::{Kind, generate, manifest};
use serde_json::Value;

/// Calls `visit` for every node of every schema with its path.
fn every_node(mut visit: impl FnMut(&str, &Value)) {
    for kind in Kind::ALL {
        let schema = kind.schema();
        for part in ["spec", "status"] {
            walk(
                &schema["properties"][part],
                &format!("{kind}.{part}"),
                &mut visit,
            );
        }
    }
}

fn walk(node: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, node);
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        walk(child, &format!("{path}.{name}"), visit);
    }
    if node["items"].is_object() {
        walk(&node["items"], &format!("{path}[]"), visit);
    }
    if node["additionalProperties"].is_object() {
        walk(&node["additionalProperties"], &format!("{path}{{}}"), visit);
    }
}

fn no_node(complaint: &str, wrong: impl Fn(&str, &Value) -> bool) {
    let mut found = Vec::new();
    every_node(|path, node| {
        if wrong(path, node) {
            found.push(path.to_owned());
        }
    });
    assert!(found.is_empty(), "{complaint}: {found:#?}");
}

fn is(node: &Value, kind: &str) -> bool {
    node["type"] == kind
}

#[test]
fn every_node_has_one_known_type() {
    no_node("without a known type", |_, node| {
        !["object", "array", "string", "integer"]
            .iter()
            .any(|kind| is(node, kind))
    });
}

#[test]
fn nothing_is_used_that_the_offline_check_does_not_know() {
    const KNOWN: [&str; 20] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-validations",
    ];
    no_node("with an unknown key word", |_, node| {
        node.as_object()
            .into_iter()
            .flatten()
            .any(|(key, _)| !KNOWN.contains(&key.as_str()))
    });
}

#[test]
fn every_string_is_bounded() {
    no_node("an unbounded string", |_, node| {
        is(node, "string")
            && node["maxLength"].is_null()
            && node["enum"].is_null()
            && node["format"] != "date-time"
    });
}

#[test]
fn every_list_is_bounded_and_says_how_it_is_merged() {
    no_node("an unbounded list", |_, node| {
        is(node, "array") && node["maxItems"].is_null()
    });
    no_node("a list without a type", |_, node| {
        is(node, "array")
            && !["atomic", "set", "map"]
                .iter()
                .any(|kind| node["x-kubernetes-list-type"] == *kind)
    });
    no_node("a keyed list without keys that are required", |_, node| {
        node["x-kubernetes-list-type"] == "map"
            && node["x-kubernetes-list-map-keys"]
                .as_array()
                .is_none_or(|keys| {
                    keys.is_empty()
                        || keys.iter().any(|key| {
                            !node["items"]["required"]
                                .as_array()
                                .is_some_and(|required| required.contains(key))
                        })
                })
    });
}

#[test]
fn every_map_is_bounded() {
    no_node("an unbounded map", |_, node| {
        node["additionalProperties"].is_object() && node["maxProperties"].is_null()
    });
}

#[test]
fn every_number_is_an_integer_bounded_on_both_sides_by_integers() {
    no_node("an unbounded number", |_, node| {
        is(node, "integer") && !(node["minimum"].is_i64() && node["maximum"].is_i64())
    });
}

#[test]
fn every_field_is_documented() {
    no_node("without a description", |path, node| {
        !path.ends_with("[]")
            && !path.ends_with("{}")
            && node["description"]
                .as_str()
                .is_none_or(|text| text.len() < 3)
    });
}

#[test]
fn every_default_of_an_object_is_written_out() {
    no_node("a bare default", |_, node| {
        node["default"]
            .as_object()
            .is_some_and(serde_json::Map::is_empty)
    });
    // A default must hold everything its schema would fill in, for not every tool fills in twice.
    every_node(|path, node| {
        if let Some(default) = node["default"]
            .as_object()
            .filter(|_| !path.ends_with(".status"))
        {
            for (name, child) in node["properties"].as_object().into_iter().flatten() {
                if !child["default"].is_null() {
                    assert_eq!(
                        default.get(name),
                        Some(&child["default"]),
                        "the default of {path} and of its field {name}"
                    );
                }
            }
        }
    });
}

#[test]
fn names_are_camel_case_with_acronyms_in_one_case() {
    const ACRONYMS: [&str; 4] = ["Id", "Ip", "Mtu", "Dns"];
    no_node("a misspelt name", |path, node| {
        node["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(name, _)| {
                !name.starts_with(|letter: char| letter.is_ascii_lowercase())
                    || !name.chars().all(|letter| letter.is_ascii_alphanumeric())
                    || ACRONYMS.iter().any(|acronym| {
                        name.match_indices(acronym).any(|(at, _)| {
                            let after = name.get(at + acronym.len()..).unwrap_or_default();
                            after.is_empty()
                                || after.starts_with(|letter: char| {
                                    letter.is_ascii_uppercase() || letter == 's'
                                })
                        })
                    }) && !path.is_empty()
            })
    });
    let group = &Kind::GetVpnGroup.schema()["properties"]["spec"]["properties"];
    assert!(group["groupID"].is_object());
    assert!(group["traffic"]["properties"]["senderIDBits"].is_object());
}

#[test]
fn there_is_no_boolean_and_no_unknown_field_is_kept() {
    no_node("a boolean", |_, node| is(node, "boolean"));
    for (name, yaml) in generate() {
        assert!(!yaml.contains("preserve-unknown-fields"), "{name}");
        assert!(!yaml.contains("nullable"), "{name}");
    }
}

#[test]
fn every_rule_has_words_and_points_at_a_field_there_is() {
    let mut rules = 0;
    for kind in Kind::ALL {
        walk(kind.schema(), kind.name(), &mut |path, node| {
            for rule in node["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                rules += 1;
                assert!(
                    rule["message"].is_string() || rule["messageExpression"].is_string(),
                    "{path}: {rule}"
                );
                if let Some(field) = rule["fieldPath"].as_str() {
                    let mut target = node;
                    for part in field.split('.').skip(1) {
                        target = &target["properties"][part];
                    }
                    assert!(target.is_object(), "{path}: {field} is a field");
                }
            }
        });
    }
    assert!(rules >= 60, "the walk found only {rules} rules");
}

#[test]
fn every_status_starts_as_not_observed() {
    for kind in Kind::ALL {
        let status = &kind.schema()["properties"]["status"];
        assert_eq!(
            status["default"],
            serde_json::json!({ "observedGeneration": -1 }),
            "{kind}"
        );
        assert_eq!(
            status["properties"]["conditions"]["x-kubernetes-list-map-keys"],
            serde_json::json!(["type"])
        );
    }
}

#[test]
fn every_manifest_is_small_enough_for_every_way_of_applying_it() {
    for (name, yaml) in generate() {
        assert!(yaml.len() < 200_000, "{name} has {} bytes", yaml.len());
    }
}

#[test]
fn names_columns_and_subresources_are_those_users_expect() {
    let names = |kind| {
        let manifest = manifest(kind);
        let names = &manifest["spec"]["names"];
        (
            names["shortNames"][0].clone(),
            names["categories"][0].clone(),
            manifest["spec"]["scope"].clone(),
        )
    };
    for (kind, short) in [
        (Kind::GetVpnGroup, "gvg"),
        (Kind::SecurityAssociation, "gvsa"),
        (Kind::GroupMember, "gvm"),
    ] {
        assert_eq!(
            names(kind),
            (short.into(), "getvpn".into(), "Namespaced".into())
        );
        let version = &manifest(kind)["spec"]["versions"][0];
        assert!(version["subresources"]["status"].is_object(), "{kind}");
        assert!(
            version["additionalPrinterColumns"]
                .as_array()
                .is_some_and(|columns| columns.len() >= 9),
            "{kind}"
        );
    }
    let group = manifest(Kind::GetVpnGroup);
    let scale = &group["spec"]["versions"][0]["subresources"]["scale"];
    assert_eq!(scale["specReplicasPath"], ".spec.keyServers.replicas");
    assert_eq!(scale["statusReplicasPath"], ".status.keyServers.replicas");
    assert_eq!(scale["labelSelectorPath"], ".status.keyServers.selector");
    for kind in [Kind::SecurityAssociation, Kind::GroupMember] {
        let selectable = &manifest(kind)["spec"]["versions"][0]["selectableFields"];
        assert_eq!(selectable[0]["jsonPath"], ".spec.groupRef.name", "{kind}");
    }
}

#[test]
fn generated_files_are_current() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut expected: Vec<_> = generate()
        .into_iter()
        .map(|(name, text)| (root.join("generated").join(name), text))
        .collect();
    expected.push((
        root.join("../docs/reference/crds.md"),
        crds::reference_markdown(),
    ));
    for (path, text) in expected {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not current; run `cargo run -p crds --example generate`",
            path.display()
        );
    }
}
