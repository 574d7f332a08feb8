//! Key servers that share a perfect log, members with the real protocol, a network and a clock that jumps from
//! event to event. The same seed gives the same world.

mod member;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use gikev2::crypto::digest::sha256;
use gikev2::exchange::authentication::PreSharedKeys;
use gikev2::wire::Identification;
use gikev2::{Entropy, Secret, Transmit};
use keyserver_api::policy::{GroupPolicy, SignatureAlgorithm, ValidatedPolicy};
use keyserver_core::audit::AuditEvent;
use keyserver_core::command::{Action, Command};
use keyserver_core::outcome::Outcome;
use keyserver_core::secret::SecretBytes;
use keyserver_core::server::{AdminAnswer, AdminError, AdminRequest, Config, KeyServer, Role};
use keyserver_core::state::State;

pub(crate) use member::Member;

/// 2026-07-01 00:00 UTC.
pub(crate) const UNIX_MS: u64 = 1_782_864_000_000;
/// The group of every test.
pub(crate) const GROUP_ID: u32 = 1234;
/// Its name.
pub(crate) const GROUP: &str = "branch-voice";

/// Random octets from a seed.
pub(crate) struct Seeded {
    seed: u64,
    counter: u64,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = sha256(&[&self.seed.to_be_bytes(), &self.counter.to_be_bytes()]);
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// One key for every member: who is authorised is the group's decision.
struct AnyMember(Secret);

impl PreSharedKeys for AnyMember {
    fn key(&self, _: &Identification) -> Option<&Secret> {
        Some(&self.0)
    }
}

pub(crate) fn shared_key() -> Secret {
    Secret::from_slice(b"correct horse battery staple 0001")
}

pub(crate) struct Node {
    pub(crate) server: KeyServer,
    pub(crate) up: bool,
    applied: usize,
    /// Whether it gets the entries of the log.
    pub(crate) follows: bool,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) entropy: Seeded,
    pub(crate) nodes: Vec<Node>,
    pub(crate) leader: Option<usize>,
    pub(crate) log: Vec<Vec<u8>>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) members: BTreeMap<IpAddr, Member>,
    network: VecDeque<Transmit>,
    /// Whether a datagram is lost.
    pub(crate) loses: Box<dyn FnMut(&Transmit) -> bool>,
    /// Whether proposals reach the log.
    pub(crate) commits: bool,
    /// Whether every member must always be able to open what every other sends.
    pub(crate) expects_traffic: bool,
    pub(crate) audit: Vec<AuditEvent>,
    /// Whether key servers that ask for a signing key get one.
    pub(crate) makes_signing_keys: bool,
    /// Key servers that were given a new signing key.
    pub(crate) signing_keys_made_at: Vec<usize>,
    pub(crate) rekey_senders: BTreeSet<IpAddr>,
}

pub(crate) fn server_address(node: usize) -> SocketAddr {
    SocketAddr::from(([172, 20, u8::try_from(node).expect("few nodes"), 2], 848))
}

impl World {
    /// `nodes` key servers, the first one primary.
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            start: now,
            entropy: Seeded::new(seed),
            nodes: Vec::new(),
            leader: None,
            log: Vec::new(),
            outcomes: Vec::new(),
            members: BTreeMap::new(),
            network: VecDeque::new(),
            loses: Box::new(|_| false),
            commits: true,
            expects_traffic: false,
            audit: Vec::new(),
            makes_signing_keys: true,
            signing_keys_made_at: Vec::new(),
            rekey_senders: BTreeSet::new(),
        };
        for node in 0..nodes {
            let server = world.key_server(node, State::new());
            world.nodes.push(Node {
                server,
                up: true,
                applied: 0,
                follows: true,
            });
        }
        world.elect(Some(0));
        world
    }

    fn key_server(&mut self, node: usize, state: State) -> KeyServer {
        let identity = Identification::fqdn(&format!("ks-{node}.keyserver.getvpn"));
        let mut responder = gikev2::responder::Config::new(identity);
        responder.pre_shared_keys = Some(Box::new(AnyMember(shared_key())));
        let config = Config {
            name: format!("ks-{node}"),
            addresses: vec![server_address(node).ip()],
            port: 848,
            fragment_size: 1_200,
            responder,
        };
        KeyServer::new(config, state, self.now, self.unix_ms(), &mut self.entropy)
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        UNIX_MS + u64::try_from((self.now - self.start).as_millis()).expect("a short test")
    }

    /// Adds a key server that holds nothing and does not follow the log yet; its number.
    pub(crate) fn add_key_server(&mut self) -> usize {
        let number = self.nodes.len();
        let server = self.key_server(number, State::new());
        self.nodes.push(Node {
            server,
            up: true,
            applied: 0,
            follows: false,
        });
        let leader = self.leader;
        self.elect(leader);
        number
    }

    /// Makes a node primary, or nobody.
    pub(crate) fn elect(&mut self, leader: Option<usize>) {
        self.leader = leader;
        for index in 0..self.nodes.len() {
            let role = match leader {
                Some(leader) if leader == index => Role::Primary,
                Some(leader) => Role::Secondary {
                    primary: Some(format!("ks-{leader}")),
                },
                None => Role::NoQuorum,
            };
            let node = &mut self.nodes[index];
            if node.up {
                node.server
                    .handle_role(self.now, role, 1, &mut self.entropy);
            }
        }
    }

    /// Stops a node.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].up = false;
    }

    /// Starts a stopped node from a snapshot of what it had applied; it then catches up from the log.
    pub(crate) fn restart(&mut self, node: usize) {
        let snapshot = self.nodes[node].server.snapshot().expect("a snapshot");
        let state = State::decode(&snapshot).expect("a snapshot can be read");
        assert_eq!(&state, self.nodes[node].server.state());
        let server = self.key_server(node, state);
        self.nodes[node].server = server;
        self.nodes[node].up = true;
        let leader = self.leader;
        self.elect(leader);
    }

    pub(crate) fn primary(&mut self) -> &mut KeyServer {
        let leader = self.leader.expect("a primary");
        &mut self.nodes[leader].server
    }

    pub(crate) fn status(&mut self) -> keyserver_api::status::GroupStatus {
        let now = self.now;
        self.primary().group_status(now, GROUP).expect("the group")
    }

    /// Sends an administrator's request to the primary and waits for the answer.
    pub(crate) fn admin(&mut self, request: AdminRequest) -> Result<AdminAnswer, AdminError> {
        let (leader, now) = (self.leader.expect("a primary"), self.now);
        let ticket = self.nodes[leader]
            .server
            .handle_admin(now, request, &mut self.entropy)?;
        for _ in 0..100 {
            self.settle();
            while let Some((answered, answer)) = self.nodes[leader].server.poll_admin() {
                if answered == ticket {
                    return answer;
                }
            }
            self.advance(Duration::from_millis(50));
        }
        panic!("no answer to the administrator");
    }

    pub(crate) fn put_policy(&mut self, policy: &GroupPolicy) -> Result<AdminAnswer, AdminError> {
        let policy = ValidatedPolicy::try_from(policy.clone()).expect("a valid policy");
        self.admin(AdminRequest::PutGroup(Box::new(policy)))
    }

    /// Adds members `1..=count` and registers them, spread over the key servers.
    pub(crate) fn join(&mut self, count: u8) {
        for number in 1..=count {
            self.add(Member::new(number), usize::from(number) % self.nodes.len());
        }
        self.settle();
        assert!(
            self.members
                .values()
                .all(|member| member.registrations == 1),
            "everybody is registered"
        );
    }

    pub(crate) fn add(&mut self, mut member: Member, node: usize) {
        member.register(self.now, server_address(node), &mut self.entropy);
        self.members.insert(member.ip(), member);
    }

    pub(crate) fn member(&mut self, number: u8) -> &mut Member {
        self.members
            .get_mut(&IpAddr::from([10, 1, number, 2]))
            .expect("a member")
    }

    pub(crate) fn register_again(&mut self, number: u8, node: usize) {
        let address = IpAddr::from([10, 1, number, 2]);
        let member = self.members.get_mut(&address).expect("a member");
        member.register(self.now, server_address(node), &mut self.entropy);
    }

    /// Commits a command that no node of this world proposed.
    pub(crate) fn commit(&mut self, command: &Command) -> Outcome {
        self.log.push(command.encode().expect("a command"));
        self.apply_log();
        self.outcomes.last().expect("an outcome").clone()
    }

    /// Hands an administrator's request to a node without waiting for the answer.
    pub(crate) fn ask(&mut self, node: usize, request: AdminRequest) {
        // Refusals show in what happens next.
        let _taken = self.nodes[node]
            .server
            .handle_admin(self.now, request, &mut self.entropy);
    }

    /// Tells one node alone that it is primary.
    pub(crate) fn tell_primary(&mut self, node: usize) {
        self.nodes[node]
            .server
            .handle_role(self.now, Role::Primary, 2, &mut self.entropy);
    }

    /// Carries everything that can happen without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                self.check();
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Lets time pass, event by event.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..50_000 {
            self.settle();
            let servers = self
                .nodes
                .iter()
                .filter(|node| node.up)
                .filter_map(|node| node.server.poll_timeout(self.now));
            let members = self.members.values().filter(|member| member.online);
            let due = servers
                .map(|(due, _)| due)
                .chain(members.filter_map(|member| member.poll_timeout(self.now)))
                .min()
                .filter(|due| *due <= end);
            let Some(due) = due else {
                self.now = end;
                self.settle();
                return;
            };
            // A timer that is due again and again at one instant would stop time.
            self.now = due.max(self.now + Duration::from_micros(1));
            for node in self.nodes.iter_mut().filter(|node| node.up) {
                node.server.handle_timeout(self.now, &mut self.entropy);
            }
            for member in self.members.values_mut().filter(|member| member.online) {
                member.handle_timeout(self.now, &mut self.entropy);
            }
        }
        panic!("too many events");
    }

    fn step(&mut self) -> bool {
        let mut progress = false;
        for index in 0..self.nodes.len() {
            if self.nodes[index].up {
                progress |= self.collect_from(index);
            }
        }
        for member in self.members.values_mut() {
            while let Some(datagram) = member
                .initiator
                .as_mut()
                .and_then(|initiator| initiator.poll_transmit())
            {
                self.network.push_back(datagram);
                progress = true;
            }
        }
        progress |= self.apply_log();
        while let Some(datagram) = self.network.pop_front() {
            progress = true;
            self.deliver(&datagram);
        }
        progress
    }

    fn collect_from(&mut self, index: usize) -> bool {
        let mut progress = false;
        while let Some(datagram) = self.nodes[index].server.poll_transmit() {
            if datagram.payload.get(18) == Some(&41) {
                self.rekey_senders.insert(datagram.local.ip());
            }
            self.network.push_back(datagram);
            progress = true;
        }
        while let Some(proposal) = self.nodes[index].server.poll_proposal() {
            if self.leader.is_some() && self.commits {
                self.log.push(proposal.command.encode().expect("a command"));
                progress = true;
            }
        }
        while let Some(event) = self.nodes[index].server.poll_audit() {
            progress = true;
            if let AuditEvent::SigningKeyNeeded {
                group_id,
                algorithm,
                ..
            } = &event
                && self.makes_signing_keys
            {
                self.signing_keys_made_at.push(index);
                assert_eq!(
                    *algorithm,
                    SignatureAlgorithm::Ed25519,
                    "tests sign with Ed25519"
                );
                let key = ed25519_key(&mut self.entropy);
                let (now, id) = (self.now, *group_id);
                let server = &mut self.nodes[index].server;
                server
                    .handle_signing_key(now, id, "rekey".to_owned(), key, &mut self.entropy)
                    .expect("a usable key");
            }
            self.audit.push(event);
        }
        progress
    }

    fn apply_log(&mut self) -> bool {
        let mut progress = false;
        for node in self.nodes.iter_mut().filter(|node| node.up && node.follows) {
            while let Some(octets) = self.log.get(node.applied) {
                let command = Command::decode(octets).expect("a command");
                let index = u64::try_from(node.applied).expect("a short log") + 1;
                let outcome =
                    node.server
                        .handle_committed(self.now, index, &command, &mut self.entropy);
                match self.outcomes.get(node.applied) {
                    Some(known) => assert_eq!(
                        known, &outcome,
                        "every key server comes to the same outcome"
                    ),
                    None => self.outcomes.push(outcome),
                }
                node.applied += 1;
                progress = true;
            }
        }
        progress
    }

    fn deliver(&mut self, datagram: &Transmit) {
        if (self.loses)(datagram) {
            return;
        }
        let unix_ms = self.unix_ms();
        if let Some(member) = self.members.get_mut(&datagram.remote.ip()) {
            if member.online {
                let answers = member.handle_datagram(self.now, datagram, &mut self.entropy);
                self.network.extend(answers);
            }
            return;
        }
        if datagram.remote.ip().is_multicast() {
            for member in self.members.values_mut().filter(|member| member.online) {
                let answers = member.handle_datagram(self.now, datagram, &mut self.entropy);
                self.network.extend(answers);
            }
            return;
        }
        let at =
            (0..self.nodes.len()).find(|node| server_address(*node).ip() == datagram.remote.ip());
        if let Some(node) = at.map(|node| &mut self.nodes[node]).filter(|node| node.up) {
            let (local, remote) = (datagram.remote, datagram.local);
            node.server.handle_datagram(
                self.now,
                unix_ms,
                local,
                remote,
                &datagram.payload,
                &mut self.entropy,
            );
        }
    }

    /// What must hold at every moment.
    fn check(&self) {
        if !self.expects_traffic {
            return;
        }
        assert!(
            self.members
                .values()
                .all(|member| member.failures.is_empty()),
            "every attempt to register succeeds"
        );
        let talking: Vec<&Member> = self
            .members
            .values()
            .filter(|member| member.online && !member.excluded)
            .collect();
        for sender in &talking {
            for association in sender.associations() {
                let spi = sender.outbound(self.now, association);
                let at = self.now - self.start;
                let spi = spi.unwrap_or_else(|| panic!("{at:?}: {} cannot send", sender.name));
                for receiver in &talking {
                    assert!(
                        receiver.opens(self.now, spi),
                        "{at:?}: {} cannot open {}",
                        receiver.name,
                        sender.name
                    );
                }
            }
        }
    }

    /// The rekeys of the log that were carried out, decoded. A command proposed twice counts once.
    pub(crate) fn rekeys(&self) -> Vec<keyserver_core::command::Rekey> {
        let mut seen = BTreeMap::new();
        let mut rekeys = Vec::new();
        for (octets, outcome) in self.log.iter().zip(&self.outcomes) {
            let command = Command::decode(octets).expect("a command");
            if let Some(first) = seen.insert(command.key, octets) {
                assert!(first == octets, "one name, one command");
            } else if let (Outcome::Rekeyed { .. }, Action::Rekey(rekey)) =
                (outcome, command.action)
            {
                rekeys.push(*rekey);
            }
        }
        rekeys
    }
}

/// PKCS#8 DER of an Ed25519 key (RFC 8410 §7).
pub(crate) fn ed25519_key(entropy: &mut dyn Entropy) -> SecretBytes {
    let mut octets = hex::decode("302e020100300506032b657004220420").expect("hex");
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    octets.extend_from_slice(&seed);
    SecretBytes::new(octets)
}

/// A policy with keys that live 20 s.
pub(crate) fn policy() -> GroupPolicy {
    use keyserver_api::policy::{
        Action, AntiReplay, Authorization, Direction, Encapsulation, EspEncryption, RekeyPolicy,
        Rule, SecurityAssociationPolicy,
    };
    let rule = |name: &str, network: &str| Rule {
        name: name.to_owned(),
        action: Action::Permit,
        protocol: None,
        source: network.parse().expect("a network"),
        destination: network.parse().expect("a network"),
        source_ports: Vec::new(),
        destination_ports: Vec::new(),
    };
    GroupPolicy {
        name: GROUP.to_owned(),
        group_id: GROUP_ID,
        direction: Direction::Both,
        sender_id_bits: 24,
        prestaged_keys: 1,
        activation_delay_ms: 1_000,
        deactivation_delay_ms: 3_000,
        authorization: Authorization::default(),
        rekey: RekeyPolicy {
            signature: SignatureAlgorithm::Ed25519,
            kek_lifetime_seconds: 3_600,
            lead_time_seconds: 10,
            retransmit_attempts: 3,
            retransmit_period_ms: 200,
            acknowledgement_timeout_ms: 200,
            ..RekeyPolicy::default()
        },
        security_associations: vec![SecurityAssociationPolicy {
            name: "voice".to_owned(),
            order: 100,
            encryption: EspEncryption::Aes256Gcm,
            lifetime_ms: 20_000,
            lifetime_kilobytes: 0,
            anti_replay: AntiReplay::TimeBased { window_ms: 5_000 },
            encapsulation: Encapsulation::Udp,
            rules: vec![rule("all", "10.0.0.0/8")],
        }],
    }
}
