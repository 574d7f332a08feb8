//! What the injector puts into a pod and the sidecar finds there: names and places, one definition for both.

/// Audience of the projected service-account token that a member presents.
pub const TOKEN_AUDIENCE: &str = "getvpn.dev/enrolment";

/// Name of the sidecar container.
pub const CONTAINER: &str = "getvpn";

/// Path of the program in the sidecar's image.
pub const PROGRAM: &str = "/gm-sidecar";

/// Arguments of the program in a pod: take everything from the environment and from enrolment.
pub const ARGUMENTS: [&str; 1] = ["pod"];

/// First argument of the program when it answers a probe; `startup`, `ready` or `live` follows.
pub const PROBE: &str = "probe";

/// Port at which the member serves its metrics.
pub const METRICS_PORT: u16 = 9446;

/// Name of [`METRICS_PORT`] in the pod.
pub const METRICS_PORT_NAME: &str = "getvpn-metrics";

/// The device that packets pass through.
pub const TUN_DEVICE: &str = "/dev/net/tun";

/// Directory with what enrolment needs: [`TOKEN_FILE`], [`TRUST_FILE`], [`ENDPOINT_FILE`], [`SERVER_NAME_FILE`].
pub const ENROLMENT_DIRECTORY: &str = "/run/getvpn/enrolment";

/// The pod's service-account token for [`TOKEN_AUDIENCE`]; the kubelet renews it.
pub const TOKEN_FILE: &str = "token";

/// Authorities of the enrolment endpoint's certificate, in PEM.
pub const TRUST_FILE: &str = "ca.crt";

/// `address:port` of the enrolment endpoint; an address and no name, so that no name resolution is needed.
pub const ENDPOINT_FILE: &str = "endpoint";

/// DNS name in the enrolment endpoint's certificate.
pub const SERVER_NAME_FILE: &str = "serverName";

/// Name of the ConfigMap in every namespace with injection that holds all of these files but the token.
pub const ENROLMENT_CONFIG_MAP: &str = "getvpn-enrolment";

/// Directory in memory for the member's key, certificates, configuration and control socket.
pub const STATE_DIRECTORY: &str = "/run/getvpn/state";

/// Directory below which the Secret with a group's pre-shared key is mounted: `GROUP/key`.
pub const PRE_SHARED_KEY_DIRECTORY: &str = "/run/getvpn/pre-shared-keys";

/// Entry of that Secret, and name of the file: the key that the members of the group share, as hexadecimal digits. It is
/// the only entry that is mounted.
pub const PRE_SHARED_KEY_ENTRY: &str = "key";

/// File in a group's directory below [`STATE_DIRECTORY`] with the member's certificate and intermediates, in PEM.
pub const CHAIN_FILE: &str = "chain.pem";

/// File in a group's directory with the authorities of its key servers, in PEM.
pub const GROUP_TRUST_FILE: &str = "trust.pem";

/// File in [`STATE_DIRECTORY`] with the member's private key, in PEM; one for all groups.
pub const KEY_FILE: &str = "member.key";

/// File in [`STATE_DIRECTORY`] that is the member's control socket.
pub const CONTROL_SOCKET_FILE: &str = "control.sock";

/// Name of the member in its configuration, of which the names of its kernel objects are made: a pod has one member.
pub const MEMBER_NAME: &str = "pod";

/// UDP port from which the member registers and at which rekeys arrive: one that needs no privilege.
pub const IKE_PORT: u16 = 10_848;

/// Name of the TUN device.
pub const TUN_NAME: &str = "getvpn0";

/// Environment variable with the pod's name.
pub const POD_NAME: &str = "GETVPN_POD_NAME";

/// Environment variable with the pod's namespace.
pub const POD_NAMESPACE: &str = "GETVPN_POD_NAMESPACE";

/// Environment variable with the protected interfaces, separated by commas.
pub const INTERFACES: &str = "GETVPN_INTERFACES";

/// Environment variable with `FailClosed` or `FailOpen`: what holds until the configuration is there.
pub const FAILURE_MODE: &str = "GETVPN_FAILURE_MODE";

/// The identity (RFC 7296 §3.5, ID_FQDN) of the member in a pod.
#[must_use]
pub fn identity(pod: &str, namespace: &str) -> String {
    format!("{pod}.{namespace}.member.getvpn")
}

/// The identity (ID_FQDN) shared by the key servers of a group's StatefulSet.
#[must_use]
pub fn key_server_identity(stateful_set: &str, namespace: &str) -> String {
    format!("{stateful_set}.{namespace}.keyserver.getvpn")
}
