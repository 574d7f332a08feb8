use std::net::SocketAddr;

use gikev2::wire::Identification;

use super::*;
use crate::command::{
    Action, Command, CommandKey, Expectation, NewRekeySa, Register, Rekey, RekeyDatagrams,
    RekeyReason,
};
use crate::identity::MemberIdentity;
use crate::log_time::LogTime;
use crate::secret::SecretBytes;
use crate::state::State;
use crate::state::key_tree::JOIN_ENTROPY_OCTETS;
use crate::state::spi::RekeySaSpi;

const GROUP_ID: u32 = 7;

/// A state with members `1..=count` and, after [`rekey`], rekeys to deliver.
struct Fixture {
    state: State,
    commands: u16,
}

impl Fixture {
    fn new(count: u16, acknowledges: bool, transport: &str) -> Self {
        Self::with_batches(count, acknowledges, transport, 3)
    }

    fn with_batches(count: u16, acknowledges: bool, transport: &str, batch: u32) -> Self {
        let mut fixture = Self {
            state: State::new(),
            commands: 0,
        };
        let policy = format!(
            r#"{{"name": "g", "groupId": {GROUP_ID}, "rekey": {{"transport": {transport}, "batchSize": {batch},
                "retransmitAttempts": 1, "retransmitPeriodMs": 500, "acknowledgementTimeoutMs": 800}},
                "securityAssociations": []}}"#
        );
        let policy = serde_json::from_str(&policy).expect("a policy");
        fixture.apply(Action::PutGroup(Box::new(policy)));
        fixture.rekey(RekeyReason::Established, None);
        for number in 1..=count {
            let [high, low] = number.to_be_bytes();
            let address = SocketAddr::from(([10, high, low, 2], 848));
            fixture.apply(Action::Register(Box::new(Register {
                group_id: GROUP_ID,
                identity: MemberIdentity::new(&Identification::fqdn(&format!("m-{number}")), None),
                sender_ids: 1,
                local: address,
                remote: address,
                acknowledges,
                acknowledgement_key: SecretBytes::new(vec![low; 32]),
                fragmentation: true,
                tree_entropy: SecretBytes::new(vec![low; JOIN_ENTROPY_OCTETS]),
                key_server: String::new(),
            })));
        }
        fixture
    }

    fn apply(&mut self, action: Action) {
        self.commands += 1;
        let mut key = CommandKey([0; 16]);
        key.0[..2].copy_from_slice(&self.commands.to_be_bytes());
        let time = LogTime::from_millis(1_000 + u64::from(self.commands));
        self.state.apply(&Command {
            key,
            time,
            unix_ms: 0,
            proposer: String::new(),
            action,
        });
    }

    fn rekey(&mut self, reason: RekeyReason, message_id: Option<u32>) {
        let spi = RekeySaSpi([1; 16]);
        let rekey_sa = NewRekeySa {
            spi,
            keying_material: SecretBytes::new(vec![0; 68]),
            ends: LogTime::from_millis(u64::MAX),
            excluded: Vec::new(),
            tree: None,
        };
        let generation = self.group().generation;
        self.apply(Action::Rekey(Box::new(Rekey {
            group_id: GROUP_ID,
            expected: Expectation {
                generation,
                spis_allocated: 0,
                next_key_id: None,
            },
            reason,
            policy: None,
            new_associations: Vec::new(),
            rekey_sa: message_id.is_none().then_some(rekey_sa),
            traffic_keys: Vec::new(),
            rescheduled: Vec::new(),
            retired: Vec::new(),
            adopts_signing_key: false,
            message: message_id.map(|message_id| RekeyDatagrams {
                spi,
                message_id,
                datagrams: vec![vec![1]],
            }),
        })));
    }

    fn group(&self) -> &Group {
        self.state.group(GROUP_ID).expect("the group")
    }

    fn begin(&self, delivery: &mut Delivery, now: Instant) {
        self.group()
            .sent
            .undelivered()
            .for_each(|sent| delivery.begin(now, sent, self.group()));
    }

    /// To whom which rekey goes at `now`, and what is over.
    fn run(&self, delivery: &mut Delivery, now: Instant) -> (Vec<(u64, u64)>, Vec<Finished>) {
        let mut sent_to = Vec::new();
        let finished =
            delivery.handle_timeout(now, self.group(), &mut |recipient, sent| match recipient {
                Recipient::Member(member) => sent_to.push((member.registration_id, sent.number)),
                Recipient::Group => sent_to.push((0, sent.number)),
            });
        (sent_to, finished)
    }
}

const UNICAST: &str = r#""Unicast""#;

fn after(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn members_are_served_in_batches_that_acknowledgements_speed_up() {
    let mut fixture = Fixture::new(8, true, UNICAST);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    assert_eq!(fixture.run(&mut delivery, now).0, [(1, 1), (2, 1), (3, 1)]);
    assert!(delivery.handle_acknowledgement(now, 1, 2));
    assert!(
        !delivery.handle_acknowledgement(now, 1, 2),
        "only the first acknowledgement is news"
    );
    assert_eq!(fixture.run(&mut delivery, now).0, [(4, 1)]);
    assert_eq!(delivery.poll_timeout(), Some(now + BATCH_PAUSE));
    assert_eq!(
        fixture.run(&mut delivery, now + BATCH_PAUSE).0,
        [(5, 1), (6, 1), (7, 1)]
    );
    assert_eq!(delivery.acknowledged(1), Some(1));
}

// GET VPN row 89
#[test]
fn a_small_group_is_served_in_one_burst_and_a_large_one_in_bounded_batches() {
    let bursts = |members| {
        let mut fixture = Fixture::with_batches(members, true, UNICAST, 30);
        fixture.rekey(RekeyReason::Triggered, Some(0));
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        fixture.begin(&mut delivery, start);
        let mut bursts = Vec::new();
        let mut served = std::collections::BTreeSet::new();
        while served.len() < usize::from(members) {
            let now = delivery.poll_timeout().expect("not over");
            let (sent, _) = fixture.run(&mut delivery, now);
            served.extend(sent.iter().map(|(member, _)| *member));
            bursts.push((now - start, sent.len()));
        }
        bursts
    };
    assert_eq!(bursts(29), [(Duration::ZERO, 29)]);
    let large = bursts(300);
    assert!(large.iter().all(|(_, count)| *count <= 30), "{large:?}");
    let (last, _) = large.last().expect("several");
    assert!(
        *last < Duration::from_secs(2),
        "long before any key ends: {last:?}"
    );
}

#[test]
fn an_attempt_is_two_copies_and_after_the_last_the_member_counts_as_silent() {
    let mut fixture = Fixture::new(1, true, UNICAST);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    let (mut delivery, start) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, start);
    let mut copies = Vec::new();
    let finished = loop {
        let now = delivery.poll_timeout().expect("not over");
        let (sent, finished) = fixture.run(&mut delivery, now);
        copies.extend(sent.iter().map(|_| now - start));
        if !finished.is_empty() {
            break finished;
        }
    };
    assert_eq!(copies, [after(0), after(100), after(800), after(900)]);
    assert_eq!(
        finished,
        [Finished {
            number: 1,
            silent: vec![1]
        }]
    );
    assert!(delivery.is_idle());
}

#[test]
fn a_member_that_cannot_acknowledge_gets_every_copy_and_is_never_silent() {
    let mut fixture = Fixture::new(1, false, UNICAST);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    assert_eq!(fixture.run(&mut delivery, now).0.len(), 1);
    assert_eq!(fixture.run(&mut delivery, now + after(800)).0.len(), 1);
    let (sent, finished) = fixture.run(&mut delivery, now + after(1_600));
    assert!(sent.is_empty());
    assert_eq!(
        finished,
        [Finished {
            number: 1,
            silent: Vec::new()
        }]
    );
}

#[test]
fn a_member_gets_rekeys_in_their_order() {
    let mut fixture = Fixture::new(2, true, UNICAST);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    fixture.rekey(RekeyReason::Triggered, Some(1));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    assert_eq!(fixture.run(&mut delivery, now).0, [(1, 1), (2, 1)]);
    delivery.handle_acknowledgement(now, 1, 1);
    assert_eq!(
        fixture.run(&mut delivery, now).0,
        [(1, 2)],
        "the other one waits"
    );
    delivery.handle_acknowledgement(now, 1, 2);
    let (sent, finished) = fixture.run(&mut delivery, now);
    assert_eq!(sent, [(2, 2)]);
    assert_eq!(
        finished,
        [Finished {
            number: 1,
            silent: Vec::new()
        }]
    );
}

#[test]
fn a_multicast_rekey_is_repeated_and_over_after_the_last_copy() {
    let mut fixture = Fixture::new(
        5,
        true,
        r#"{"Multicast": {"address": "239.1.2.3", "port": 848, "hopLimit": 8}}"#,
    );
    fixture.rekey(RekeyReason::Triggered, Some(0));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    assert_eq!(fixture.run(&mut delivery, now), (vec![(0, 1)], Vec::new()));
    assert_eq!(fixture.run(&mut delivery, now + after(499)).0, []);
    let (sent, finished) = fixture.run(&mut delivery, now + after(500));
    assert_eq!((sent.len(), finished.len()), (1, 1));
}

#[test]
fn the_third_rekey_waits_for_the_second_when_the_first_is_over() {
    let mut fixture = Fixture::new(1, true, UNICAST);
    for message_id in 0..3 {
        fixture.rekey(RekeyReason::Triggered, Some(message_id));
    }
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    for number in 1..=3 {
        assert_eq!(fixture.run(&mut delivery, now).0, [(1, number)]);
        assert!(delivery.handle_acknowledgement(now, number, 1));
    }
    assert_eq!(fixture.run(&mut delivery, now).1.len(), 1);
    assert!(delivery.is_idle());
}

#[test]
fn a_member_that_gives_up_on_one_rekey_is_tried_with_the_next() {
    let mut fixture = Fixture::new(1, true, UNICAST);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    fixture.rekey(RekeyReason::Triggered, Some(1));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    let mut sent = Vec::new();
    while !delivery.is_idle() {
        let now = delivery.poll_timeout().expect("not over");
        sent.extend(fixture.run(&mut delivery, now).0);
    }
    let copies = |number| sent.iter().filter(|(_, sent)| *sent == number).count();
    assert_eq!((copies(1), copies(2)), (4, 4));
}

#[test]
fn a_rekey_ends_with_its_last_acknowledgement_although_another_member_left() {
    let mut fixture = Fixture::new(2, true, UNICAST);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    assert_eq!(fixture.run(&mut delivery, now).0.len(), 2);
    fixture.apply(Action::RemoveMembers {
        group_id: GROUP_ID,
        registration_ids: vec![1],
    });
    assert!(delivery.handle_acknowledgement(now, 1, 2));
    assert_eq!(fixture.run(&mut delivery, now).1.len(), 1);
}

#[test]
fn thousands_of_members_get_one_copy_each_when_all_acknowledge() {
    let mut fixture = Fixture::with_batches(2_000, true, UNICAST, 30);
    fixture.rekey(RekeyReason::Triggered, Some(0));
    let (mut delivery, now) = (Delivery::default(), Instant::now());
    fixture.begin(&mut delivery, now);
    let (mut sent, mut over) = fixture.run(&mut delivery, now);
    let mut acknowledged = 0;
    while over.is_empty() {
        let (member, number) = sent[acknowledged];
        acknowledged += 1;
        assert!(delivery.handle_acknowledgement(now, number, member));
        let (more, finished) = fixture.run(&mut delivery, now);
        sent.extend(more);
        over = finished;
    }
    assert_eq!((sent.len(), acknowledged), (2_000, 2_000));
}
