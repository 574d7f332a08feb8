//! What the operator may do: the one table from which roles are made and checked.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Where a rule is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In every namespace that is looked after: a Role in each, or one ClusterRole when that is all of them.
    Watched,
    /// In the operator's own namespace: always a Role.
    Own,
    /// For the whole cluster: always a ClusterRole.
    Cluster,
    /// For the whole cluster, and only when all namespaces are looked after.
    AllNamespaces,
}

/// One thing the operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where.
    pub scope: Scope,
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resources, with their subresource.
    pub resources: &'static [&'static str],
    /// Names the rule is limited to; empty for all.
    pub names: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// What it is for; shown in the documentation.
    pub reason: &'static str,
}

/// Name of the webhook configuration whose `caBundle` the operator fills in.
pub const WEBHOOK_CONFIGURATION: &str = "getvpn-injection";

/// Name of the lease of the operator that acts.
pub const LEASE: &str = "getvpn-operator";

/// Name of the Secret with the authority and certificate of the webhook and the enrolment endpoint.
pub const SERVING_SECRET: &str = "getvpn-operator-serving";

/// Everything the operator may do, and why.
pub const RULES: &[Rule] = &[
    // The three kinds.
    Rule {
        scope: Scope::Watched,
        group: "getvpn.dev",
        resources: &["getvpngroups", "securityassociations", "groupmembers"],
        names: &[],
        verbs: &["list", "watch"],
        reason: "reads what users want",
    },
    Rule {
        scope: Scope::Watched,
        group: "getvpn.dev",
        resources: &["getvpngroups"],
        names: &[],
        verbs: &["patch"],
        reason: "sets and removes the finalizer; `spec` is never written",
    },
    Rule {
        scope: Scope::Watched,
        group: "getvpn.dev",
        resources: &[
            "getvpngroups/status",
            "securityassociations/status",
            "groupmembers/status",
        ],
        names: &[],
        verbs: &["patch"],
        reason: "reports what is",
    },
    Rule {
        scope: Scope::Watched,
        group: "getvpn.dev",
        resources: &["getvpngroups/finalizers"],
        names: &[],
        verbs: &["update"],
        reason: "owns objects whose deletion holds up the group's, where the cluster enforces this",
    },
    // Key servers.
    Rule {
        scope: Scope::Watched,
        group: "apps",
        resources: &["statefulsets"],
        names: &[],
        verbs: &["list", "watch", "create", "patch", "delete"],
        reason: "runs key servers; deletes a StatefulSet, never its pods, only to make it again with larger volumes",
    },
    Rule {
        scope: Scope::Watched,
        group: "",
        resources: &["services", "configmaps", "serviceaccounts"],
        names: &[],
        verbs: &["list", "watch", "create", "patch"],
        reason: "key servers are found, configured and run without API token; pods with a sidecar find the enrolment endpoint",
    },
    Rule {
        scope: Scope::Watched,
        group: "policy",
        resources: &["poddisruptionbudgets"],
        names: &[],
        verbs: &["list", "watch", "create", "patch"],
        reason: "one key server is down at a time",
    },
    Rule {
        scope: Scope::Watched,
        group: "networking.k8s.io",
        resources: &["networkpolicies"],
        names: &[],
        verbs: &["list", "watch", "create", "patch"],
        reason: "says who may talk to key servers",
    },
    Rule {
        scope: Scope::Watched,
        group: "",
        resources: &["secrets"],
        names: &[],
        verbs: &["get", "create", "patch"],
        reason: "writes the certificates of a group and reads the pre-shared keys a group names; never lists or watches",
    },
    Rule {
        scope: Scope::Watched,
        group: "",
        resources: &["persistentvolumeclaims"],
        names: &[],
        verbs: &["get", "patch"],
        reason: "lets volumes grow; sees whether there are any before it makes a sealing key",
    },
    Rule {
        scope: Scope::Watched,
        group: "",
        resources: &["pods"],
        names: &[],
        verbs: &["get", "list", "watch", "delete"],
        reason: "follows key servers and pods with a sidecar; checks the pod behind a token; replaces key servers one by one",
    },
    Rule {
        scope: Scope::Watched,
        group: "events.k8s.io",
        resources: &["events"],
        names: &[],
        verbs: &["create", "patch"],
        reason: "tells users what happened",
    },
    // Members.
    Rule {
        scope: Scope::Watched,
        group: "discovery.k8s.io",
        resources: &["endpointslices"],
        names: &[],
        verbs: &["list", "watch"],
        reason: "tells members the endpoints of Services, which they translate themselves",
    },
    Rule {
        scope: Scope::AllNamespaces,
        group: "",
        resources: &["namespaces"],
        names: &[],
        verbs: &["list", "watch"],
        reason: "knows which namespaces want injection, from their labels",
    },
    Rule {
        scope: Scope::AllNamespaces,
        group: "",
        resources: &["nodes"],
        names: &[],
        verbs: &["list", "watch"],
        reason: "tells members the addresses from which their own node probes them",
    },
    Rule {
        scope: Scope::Cluster,
        group: "authentication.k8s.io",
        resources: &["tokenreviews"],
        names: &[],
        verbs: &["create"],
        reason: "checks the token of a pod that enrols",
    },
    Rule {
        scope: Scope::Cluster,
        group: "admissionregistration.k8s.io",
        resources: &["mutatingwebhookconfigurations"],
        names: &[crate::injection::WEBHOOK_CONFIGURATION],
        verbs: &["get", "patch"],
        reason: "fills in the authority of the webhook's certificate",
    },
    // The operator itself.
    Rule {
        scope: Scope::Own,
        group: "",
        resources: &["services"],
        names: &[crate::names::ENROLMENT_SERVICE],
        verbs: &["get"],
        reason: "tells members the address of the enrolment endpoint",
    },
    Rule {
        scope: Scope::Own,
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &[],
        verbs: &["create"],
        reason: "one replica acts",
    },
    Rule {
        scope: Scope::Own,
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &[LEASE],
        verbs: &["get", "patch"],
        reason: "one replica acts",
    },
    Rule {
        scope: Scope::Own,
        group: "",
        resources: &["secrets"],
        names: &[],
        verbs: &["get", "create", "patch", "delete"],
        reason: "keeps the private keys of the groups' authorities and of its own endpoints",
    },
    Rule {
        scope: Scope::Own,
        group: "events.k8s.io",
        resources: &["events"],
        names: &[],
        verbs: &["create", "patch"],
        reason: "tells administrators what happened",
    },
];

/// The rules of a scope, as a Role or ClusterRole holds them.
#[must_use]
pub fn policy_rules(scope: Scope) -> Vec<PolicyRule> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    RULES
        .iter()
        .filter(|rule| rule.scope == scope)
        .map(|rule| PolicyRule {
            api_groups: Some(vec![rule.group.to_owned()]),
            resources: Some(owned(rule.resources)),
            resource_names: (!rule.names.is_empty()).then(|| owned(rule.names)),
            verbs: owned(rule.verbs),
            non_resource_urls: None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_has_a_wildcard_lists_secrets_or_escalates() {
        for rule in RULES {
            for word in rule.resources.iter().chain(rule.verbs).chain([&rule.group]) {
                assert!(!word.contains('*'), "{rule:?}");
            }
            let forbidden = ["escalate", "bind", "impersonate", "deletecollection"];
            assert!(
                !rule.verbs.iter().any(|verb| forbidden.contains(verb)),
                "{rule:?}"
            );
            let secrets = rule.resources.contains(&"secrets");
            let reads_many = rule
                .verbs
                .iter()
                .any(|verb| ["list", "watch"].contains(verb));
            assert!(!(secrets && reads_many), "{rule:?}");
            assert!(!rule.reason.is_empty(), "{rule:?}");
        }
    }

    #[test]
    fn roles_hold_every_rule_once() {
        let scopes = [
            Scope::Watched,
            Scope::Own,
            Scope::Cluster,
            Scope::AllNamespaces,
        ];
        let all: usize = scopes
            .into_iter()
            .map(|scope| policy_rules(scope).len())
            .sum();
        assert_eq!(all, RULES.len());
    }
}
