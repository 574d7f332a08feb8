use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keyserver_core::audit::AuditEvent;
use keyserver_core::command::Command;
use keyserver_core::error::CodecError;
use keyserver_core::server::AdminRequest;
use keyserver_core::state::State;
use proptest::prelude::*;

use crate::world::{GROUP, Member, World, policy};

/// No SPI, Message ID, keying material or Sender-ID of one epoch was used twice by what the log carried out.
pub(crate) fn assert_nothing_is_used_twice(world: &World) {
    let mut spis = BTreeSet::new();
    let mut rekey_spis = BTreeSet::new();
    let mut materials = BTreeSet::new();
    let mut messages = BTreeMap::new();
    for rekey in world.rekeys() {
        for key in &rekey.traffic_keys {
            assert!(spis.insert(key.spi), "SPI {} twice", key.spi);
            assert!(
                materials.insert(key.keying_material.as_bytes().to_vec()),
                "keying material twice"
            );
        }
        if let Some(sa) = &rekey.rekey_sa {
            assert!(rekey_spis.insert(sa.spi), "Rekey SA SPI twice");
            assert!(
                materials.insert(sa.keying_material.as_bytes().to_vec()),
                "keying material twice"
            );
        }
        if let Some(message) = &rekey.message {
            let datagrams = message.datagrams.clone();
            assert!(
                messages
                    .insert((message.spi, message.message_id), datagrams)
                    .is_none(),
                "Message ID twice"
            );
        }
    }
    let mut granted = BTreeSet::new();
    let mut epoch = 0;
    for event in &world.audit {
        match event {
            AuditEvent::Registered { sender_ids, .. } => {
                for id in sender_ids {
                    assert!(granted.insert((epoch, *id)), "Sender-ID {id} twice");
                }
            }
            AuditEvent::Rekeyed {
                reason: keyserver_core::command::RekeyReason::Epoch,
                ..
            } => epoch += 1,
            _ => {}
        }
    }
}

fn lively_world() -> World {
    let mut world = World::new(2, 70);
    world.put_policy(&policy()).expect("accepted");
    world.join(5);
    world.advance(Duration::from_secs(30));
    let request = AdminRequest::Evict {
        group: GROUP.to_owned(),
        member: "m-2.member.getvpn".to_owned(),
    };
    world.admin(request).expect("evicted");
    world.advance(Duration::from_secs(30));
    world
}

#[test]
fn the_log_replayed_gives_the_same_state_and_a_second_replay_changes_nothing() {
    let world = lively_world();
    let commands: Vec<Command> = world
        .log
        .iter()
        .map(|octets| Command::decode(octets).expect("a command"))
        .collect();
    let mut state = State::new();
    let outcomes: Vec<_> = commands
        .iter()
        .map(|command| state.apply(command))
        .collect();
    assert_eq!(outcomes, world.outcomes);
    assert_eq!(&state, world.nodes[0].server.state());
    assert_eq!(&state, world.nodes[1].server.state());
    let once = state.clone();
    for (command, outcome) in commands.iter().zip(&outcomes) {
        assert_eq!(&state.apply(command), outcome);
    }
    assert_eq!(state, once);
}

#[test]
fn a_snapshot_at_any_point_and_the_rest_of_the_log_give_the_same_state() {
    let world = lively_world();
    let commands: Vec<Command> = world
        .log
        .iter()
        .map(|octets| Command::decode(octets).expect("a command"))
        .collect();
    let mut whole = State::new();
    for (applied, command) in commands.iter().enumerate() {
        whole.apply(command);
        let mut restored = State::decode(&whole.encode().expect("a snapshot")).expect("readable");
        assert_eq!(restored, whole);
        let mut rest = whole.clone();
        for later in &commands[applied + 1..] {
            assert_eq!(restored.apply(later), rest.apply(later));
        }
        assert_eq!(restored, rest);
    }
}

#[test]
fn a_damaged_or_foreign_snapshot_is_refused() {
    let snapshot = lively_world().nodes[0]
        .server
        .snapshot()
        .expect("a snapshot");
    assert!(matches!(State::decode(&[]), Err(CodecError::Empty)));
    let ours = snapshot[0];
    for other in [ours - 1, ours + 1] {
        let mut foreign = snapshot.clone();
        foreign[0] = other;
        match State::decode(&foreign) {
            Err(CodecError::Version { expected, found }) => {
                assert_eq!((expected, found), (ours, other));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(State::decode(&snapshot[..snapshot.len() - 1]).is_err());
    let mut longer = snapshot;
    longer.push(0);
    assert!(matches!(
        State::decode(&longer),
        Err(CodecError::Trailing(1))
    ));
}

/// Something that happens to the world.
#[derive(Clone, Debug)]
enum Happening {
    Join {
        member: u8,
        node: usize,
    },
    Rekey {
        replace: bool,
        key_encryption_key: bool,
    },
    Evict {
        member: u8,
    },
    Admit {
        member: u8,
    },
    Elect {
        node: usize,
    },
    Restart {
        node: usize,
    },
    Silence {
        milliseconds: u64,
    },
    LoseCommits {
        milliseconds: u64,
    },
    BothLead,
    Offline {
        member: u8,
        online: bool,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..8_u8, 0..3_usize).prop_map(|(member, node)| Happening::Join { member, node }),
        2 => any::<(bool, bool)>().prop_map(|(replace, key_encryption_key)| Happening::Rekey { replace, key_encryption_key }),
        2 => (1..8_u8).prop_map(|member| Happening::Evict { member }),
        1 => (1..8_u8).prop_map(|member| Happening::Admit { member }),
        2 => (0..3_usize).prop_map(|node| Happening::Elect { node }),
        1 => (0..3_usize).prop_map(|node| Happening::Restart { node }),
        3 => (1..20_000_u64).prop_map(|milliseconds| Happening::Silence { milliseconds }),
        1 => (1..6_000_u64).prop_map(|milliseconds| Happening::LoseCommits { milliseconds }),
        1 => Just(Happening::BothLead),
        1 => (1..8_u8, any::<bool>()).prop_map(|(member, online)| Happening::Offline { member, online }),
    ]
}

fn happen(world: &mut World, happening: &Happening) {
    let leader = world.leader.expect("a primary");
    let ask = |world: &mut World, request| world.ask(leader, request);
    let group = GROUP.to_owned();
    let name = |member: u8| format!("m-{member}.member.getvpn");
    match *happening {
        Happening::Join { member, node } => {
            if world
                .members
                .values()
                .any(|known| known.name == name(member))
            {
                world.register_again(member, node);
            } else {
                world.add(Member::new(member), node);
            }
        }
        Happening::Rekey {
            replace,
            key_encryption_key,
        } => {
            ask(
                world,
                AdminRequest::Rekey {
                    group,
                    replace,
                    key_encryption_key,
                },
            );
        }
        Happening::Evict { member } => ask(
            world,
            AdminRequest::Evict {
                group,
                member: name(member),
            },
        ),
        Happening::Admit { member } => ask(
            world,
            AdminRequest::Admit {
                group,
                member: name(member),
            },
        ),
        Happening::Elect { node } => world.elect(Some(node)),
        Happening::Restart { node } => {
            world.kill(node);
            world.restart(node);
        }
        Happening::Silence { milliseconds } => world.advance(Duration::from_millis(milliseconds)),
        Happening::LoseCommits { milliseconds } => {
            world.commits = false;
            world.advance(Duration::from_millis(milliseconds));
            world.commits = true;
        }
        Happening::BothLead => {
            let other = (leader + 1) % world.nodes.len();
            world.tell_primary(other);
        }
        Happening::Offline { member, online } => {
            if world
                .members
                .values()
                .any(|known| known.name == name(member))
            {
                world.member(member).online = online;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_used_twice_and_all_key_servers_agree(
        happenings in proptest::collection::vec(happening(), 1..40),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(3, seed);
        world.put_policy(&policy()).expect("accepted");
        for happening in &happenings {
            happen(&mut world, happening);
        }
        world.elect(Some(0));
        world.advance(Duration::from_secs(30));
        assert_nothing_is_used_twice(&world);
        for node in &world.nodes {
            prop_assert_eq!(node.server.state(), world.nodes[0].server.state());
        }
    }
}
