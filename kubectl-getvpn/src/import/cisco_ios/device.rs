//! What was read of one configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::entry::Entry;

/// One router.
#[derive(Clone, Debug, Default)]
pub(super) struct Device {
    /// Number of its source among the notes.
    pub(super) source: usize,
    /// `hostname`.
    pub(super) hostname: Option<String>,
    /// `crypto gdoi group`.
    pub(super) groups: Vec<Group>,
    /// Access lists by name or number.
    pub(super) access_lists: BTreeMap<String, AccessList>,
    /// `object-group network`.
    pub(super) object_groups: BTreeMap<String, ObjectGroup>,
    /// `crypto ipsec transform-set`.
    pub(super) transform_sets: BTreeMap<String, TransformSet>,
    /// `crypto ipsec profile`.
    pub(super) ipsec_profiles: BTreeMap<String, IpsecProfile>,
    /// `crypto identity`: the attributes of each `dn`, or the name of `fqdn`.
    pub(super) identities: BTreeMap<String, CryptoIdentity>,
    /// IKE.
    pub(super) ike: Ike,
    /// Entries of crypto maps that join a group.
    pub(super) crypto_maps: Vec<CryptoMap>,
    /// `crypto map NAME gdoi fail-close`.
    pub(super) fail_close: BTreeMap<String, FailClose>,
    /// `crypto map NAME local-address INTERFACE`.
    pub(super) local_addresses: BTreeMap<String, String>,
    /// Interfaces with a crypto map.
    pub(super) interfaces: Vec<Interface>,
    /// `crypto ipsec security-association lifetime seconds`.
    pub(super) lifetime_seconds: Option<(usize, i64)>,
    /// `crypto ipsec security-association lifetime kilobytes`; `None` for `disable`.
    pub(super) lifetime_kilobytes: Option<(usize, Option<i64>)>,
    /// `crypto ipsec security-association replay disable`.
    pub(super) replay_disabled: bool,
}

/// An access list.
#[derive(Clone, Debug, Default)]
pub(super) struct AccessList {
    /// Line of its first command.
    pub(super) line: usize,
    /// Entries that could be read, in order.
    pub(super) entries: Vec<Entry>,
    /// Entries that could not be read: line, whether they permit, and what is wrong.
    pub(super) unread: Vec<(usize, bool, String)>,
}

/// An object group of networks.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectGroup {
    /// Its prefixes.
    pub(super) nets: Vec<IpNet>,
    /// Groups in it.
    pub(super) groups: Vec<String>,
    /// Lines that could not be read, and what is wrong.
    pub(super) unread: Vec<(usize, String)>,
}

/// A transform set.
#[derive(Clone, Debug)]
pub(super) struct TransformSet {
    /// Line.
    pub(super) line: usize,
    /// Its transforms as written, such as `esp-aes 256 esp-sha-hmac`.
    pub(super) transforms: Vec<String>,
}

/// An IPsec profile.
#[derive(Clone, Debug, Default)]
pub(super) struct IpsecProfile {
    /// Line.
    pub(super) line: usize,
    /// Name of its transform set.
    pub(super) transform_set: Option<String>,
    /// Lifetime with its line.
    pub(super) lifetime_seconds: Option<(usize, i64)>,
    /// Lifetime in kilobytes with its line; `None` for `disable`.
    pub(super) lifetime_kilobytes: Option<(usize, Option<i64>)>,
}

/// A `crypto identity`.
#[derive(Clone, Debug, Default)]
pub(super) struct CryptoIdentity {
    /// Attributes of the subject, such as `ou=BRANCHES`.
    pub(super) attributes: Vec<String>,
    /// Domain name.
    pub(super) domain: Option<String>,
}

/// IKE: policies, keys and identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Ike {
    /// Policies and proposals, the best first.
    pub(super) policies: Vec<IkePolicy>,
    /// Lines with a pre-shared key.
    pub(super) pre_shared_keys: Vec<usize>,
    /// `crypto isakmp identity`: the word.
    pub(super) identity: Option<String>,
    /// `crypto isakmp keepalive`.
    pub(super) keepalive: Option<Keepalive>,
}

/// `crypto isakmp policy` or `crypto ikev2 proposal`.
#[derive(Clone, Debug, Default)]
pub(super) struct IkePolicy {
    /// Line.
    pub(super) line: usize,
    /// Its number; the lowest is tried first.
    pub(super) number: u32,
    /// Cipher as written.
    pub(super) encryption: Option<String>,
    /// Hash or pseudorandom function as written.
    pub(super) hash: Option<String>,
    /// Whether peers prove themselves by a pre-shared key; `None` for what does not say.
    pub(super) pre_shared: Option<bool>,
    /// Diffie-Hellman group.
    pub(super) group: Option<u32>,
    /// Lifetime in seconds.
    pub(super) lifetime: Option<i64>,
}

/// `crypto isakmp keepalive`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    /// Line.
    pub(super) line: usize,
    /// Seconds between questions.
    pub(super) seconds: i64,
    /// Seconds between repetitions.
    pub(super) retry: Option<i64>,
    /// Ask always, not only in doubt.
    pub(super) periodic: bool,
}

/// `crypto gdoi group`.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Line.
    pub(super) line: usize,
    /// Its name.
    pub(super) name: String,
    /// `identity`.
    pub(super) identity: Option<GroupIdentity>,
    /// `server local`: this router is a key server.
    pub(super) server: Option<Server>,
    /// `server address`: the key servers of a member, in order.
    pub(super) key_servers: Vec<(usize, IpAddr)>,
    /// `client registration interface`.
    pub(super) registration_interface: Option<(usize, String)>,
    /// `passive`: this member accepts encrypted traffic and sends in clear.
    pub(super) passive: bool,
}

/// What a group is called on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GroupIdentity {
    /// `identity number`.
    Number(u32),
    /// `identity address ipv4`.
    Address(Ipv4Addr),
}

/// `server local`.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    /// Line.
    pub(super) line: usize,
    /// `address`.
    pub(super) address: Option<IpAddr>,
    /// `rekey transport unicast`.
    pub(super) unicast: bool,
    /// `rekey address`: access list that names the multicast address.
    pub(super) rekey_address: Option<(usize, String)>,
    /// `rekey lifetime` in seconds.
    pub(super) rekey_lifetime: Option<(usize, i64)>,
    /// `rekey retransmit`: period in seconds and number of repetitions.
    pub(super) retransmit: Option<(usize, i64, i64)>,
    /// `rekey authentication mypubkey rsa`: label.
    pub(super) signing_key: Option<(usize, String)>,
    /// `authorization address`: access list.
    pub(super) authorization_address: Option<(usize, String)>,
    /// `authorization identity`: crypto identity.
    pub(super) authorization_identity: Option<(usize, String)>,
    /// `sa receive-only`.
    pub(super) receive_only: bool,
    /// `sa ipsec`.
    pub(super) associations: Vec<Association>,
    /// `redundancy` is there.
    pub(super) redundancy: bool,
    /// `local priority`.
    pub(super) priority: Option<(usize, i64)>,
    /// `peer address`.
    pub(super) peers: Vec<IpAddr>,
}

/// `sa ipsec`.
#[derive(Clone, Debug, Default)]
pub(super) struct Association {
    /// Line.
    pub(super) line: usize,
    /// Its number.
    pub(super) number: u32,
    /// `profile`.
    pub(super) profile: Option<(usize, String)>,
    /// `match address`: access lists.
    pub(super) lists: Vec<(usize, String)>,
    /// `replay`.
    pub(super) replay: Option<Replay>,
}

/// Protection against replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replay {
    /// `replay time window-size`, in milliseconds.
    Time(i64),
    /// `replay counter window-size`.
    Counter,
    /// `no replay`.
    Disabled,
}

/// An entry of a crypto map that joins a group.
#[derive(Clone, Debug, Default)]
pub(super) struct CryptoMap {
    /// Line.
    pub(super) line: usize,
    /// Name of the map.
    pub(super) name: String,
    /// `set group`.
    pub(super) group: Option<String>,
    /// `match address`: the member's own list.
    pub(super) list: Option<(usize, String)>,
}

/// `crypto map NAME gdoi fail-close`.
#[derive(Clone, Debug, Default)]
pub(super) struct FailClose {
    /// Line.
    pub(super) line: usize,
    /// `activate`.
    pub(super) active: bool,
    /// `match address`.
    pub(super) list: Option<(usize, String)>,
}

/// An interface with a crypto map.
#[derive(Clone, Debug, Default)]
pub(super) struct Interface {
    /// Line.
    pub(super) line: usize,
    /// Its name.
    pub(super) name: String,
    /// Its crypto map.
    pub(super) crypto_map: String,
    /// VRF it is in.
    pub(super) vrf: Option<(usize, String)>,
    /// `tunnel protection`.
    pub(super) tunnel_protection: Option<usize>,
    /// `ip mtu`.
    pub(super) mtu: Option<(usize, i64)>,
}
