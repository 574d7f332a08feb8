//! Names of the objects that belong to a group: one definition for those who write and those who look.

/// The StatefulSet, its headless Service, ConfigMap, PodDisruptionBudget, NetworkPolicy and ServiceAccount.
#[must_use]
pub fn key_servers(group: &str) -> String {
    format!("{group}-ks")
}

/// The Service with the one address through which any key server can be reached for registration.
#[must_use]
pub fn register_service(group: &str) -> String {
    format!("{group}-ks-register")
}

/// The Secret with the certificate of the cooperative protocol and the admin API.
#[must_use]
pub fn tls_secret(group: &str) -> String {
    format!("{group}-ks-tls")
}

/// The Secret with what key servers prove themselves to members with.
#[must_use]
pub fn ike_secret(group: &str) -> String {
    format!("{group}-ks-ike")
}

/// The Secret with the key that seals the volumes.
#[must_use]
pub fn sealing_secret(group: &str) -> String {
    format!("{group}-ks-sealing")
}

/// The Secret with a client certificate of the admin API, for people.
#[must_use]
pub fn admin_secret(group: &str) -> String {
    format!("{group}-admin")
}

/// The Secret, in the operator's own namespace, with the private keys of a group's authorities.
#[must_use]
pub fn authority_secret(namespace: &str, group: &str) -> String {
    format!("authority.{namespace}.{group}")
}

/// The pod of a key server, which is also the key server's own name.
#[must_use]
pub fn pod(group: &str, ordinal: usize) -> String {
    format!("{group}-ks-{ordinal}")
}

/// The ordinal of a pod of the group's StatefulSet.
#[must_use]
pub fn ordinal(group: &str, pod: &str) -> Option<usize> {
    let digits = pod.strip_prefix(group)?.strip_prefix("-ks-")?;
    let ordinal: usize = digits.parse().ok()?;
    (ordinal.to_string() == digits).then_some(ordinal)
}

/// The DNS name of a key server, by which the others find it and which is in its certificate.
#[must_use]
pub fn host(group: &str, namespace: &str, ordinal: usize) -> String {
    format!("{}.{}", pod(group, ordinal), domain(group, namespace))
}

/// The domain in which the key servers of a group have their names.
#[must_use]
pub fn domain(group: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", key_servers(group))
}

/// The Service at which the API server calls the webhook, in the operator's namespace.
pub const WEBHOOK_SERVICE: &str = "getvpn-webhook";

/// The Service at which members enrol, in the operator's namespace.
pub const ENROLMENT_SERVICE: &str = "getvpn-enrolment";

/// The DNS name of a Service, as certificates name it.
#[must_use]
pub fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}

/// The claim of the volume of a key server.
#[must_use]
pub fn volume_claim(group: &str, ordinal: usize) -> String {
    format!("{VOLUME}-{}", pod(group, ordinal))
}

/// Name of the volume with a key server's state.
pub const VOLUME: &str = "state";

/// The organizational unit in the subject of a member's certificate.
#[must_use]
pub fn group_unit(namespace: &str, group: &str) -> String {
    format!("{namespace}.{group}")
}

/// The subject of the certificate of a member with `identity`, as RFC 4514 writes it: what patterns in
/// `authorization.subjects` are compared with.
#[must_use]
pub fn member_subject(identity: &str, namespace: &str, group: &str) -> String {
    format!("CN={identity},OU={},O=getvpn", group_unit(namespace, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_of_the_group_itself_have_an_ordinal() {
        assert_eq!(ordinal("voice", &pod("voice", 7)), Some(7));
        for other in [
            "voice-ks-",
            "voice-ks-x",
            "voice-ks-07",
            "voice-2-ks-1",
            "ks-0",
        ] {
            assert_eq!(ordinal("voice", other), None, "{other}");
        }
    }

    #[test]
    fn a_member_and_the_set_it_is_in_read_the_same_subject() {
        assert_eq!(
            member_subject("web-0.wan.member.getvpn", "wan", "voice"),
            "CN=web-0.wan.member.getvpn,OU=wan.voice,O=getvpn"
        );
    }
}
