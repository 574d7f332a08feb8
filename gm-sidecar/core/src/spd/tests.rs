use super::*;
use proptest::prelude::*;

fn v4(range: [u8; 8]) -> AddressRange {
    let [a, b, c, d, e, f, g, h] = range;
    AddressRange::V4(Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))
}

const TEN: [u8; 8] = [10, 0, 0, 0, 10, 255, 255, 255];

fn selector(source: AddressRange, destination: AddressRange) -> Selector {
    Selector {
        source,
        destination,
        protocol: None,
        source_ports: 0..=u16::MAX,
        destination_ports: 0..=u16::MAX,
    }
}

fn permit(selector: Selector, association: u16) -> Rule {
    Rule {
        selector,
        action: Action::Protect { association },
    }
}

fn flow(source: [u8; 4], destination: [u8; 4], ports: Option<(u16, u16)>) -> Flow {
    Flow {
        source: number(source.into()),
        destination: number(destination.into()),
        ports: ports.unwrap_or_default(),
        has_ports: ports.is_some(),
        later_fragment: false,
        protocol: if ports.is_some() { 6 } else { 1 },
        family: Family::V4,
    }
}

// GET VPN row 118
#[test]
fn first_match_decides_and_own_exclusions_come_first() {
    let bypass = [selector(v4(TEN), v4([10, 9, 0, 0, 10, 9, 255, 255]))];
    let denied = Rule {
        selector: selector(v4(TEN), v4([10, 8, 0, 0, 10, 8, 0, 255])),
        action: Action::Clear,
    };
    let groups = [vec![denied, permit(selector(v4(TEN), v4(TEN)), 3)]];
    let list = AccessList::new(&bypass, groups.iter().map(Vec::as_slice));
    let to = |destination| list.lookup(&flow([10, 0, 0, 1], destination, None));
    assert_eq!(
        to([10, 0, 0, 2]),
        Verdict::Protect {
            group: 0,
            association: 3
        }
    );
    assert_eq!(to([10, 9, 0, 2]), Verdict::Clear);
    assert_eq!(to([10, 8, 0, 2]), Verdict::Clear);
    assert_eq!(to([192, 0, 2, 1]), Verdict::NoRule);
}

#[test]
fn incoming_packets_are_judged_by_the_group_s_rules_only() {
    let bypass = [selector(v4(TEN), v4(TEN))];
    let groups = [
        vec![permit(selector(v4(TEN), v4(TEN)), 3)],
        vec![permit(selector(v4(TEN), v4(TEN)), 4)],
    ];
    let list = AccessList::new(&bypass, groups.iter().map(Vec::as_slice));
    let flow = flow([10, 0, 0, 1], [10, 0, 0, 2], None);
    assert_eq!(list.lookup(&flow), Verdict::Clear);
    assert_eq!(
        list.lookup_in_group(&flow, 0),
        Verdict::Protect {
            group: 0,
            association: 3
        }
    );
    assert_eq!(
        list.lookup_in_group(&flow, 1),
        Verdict::Protect {
            group: 1,
            association: 4
        }
    );
    assert_eq!(list.lookup_in_group(&flow, 2), Verdict::NoRule);
}

#[test]
fn later_fragments_match_port_rules_to_encrypt_and_never_port_rules_to_leave_clear() {
    let mut web = selector(v4(TEN), v4(TEN));
    web.protocol = Some(6);
    web.destination_ports = 80..=80;
    let mut fragment = flow([10, 0, 0, 1], [10, 0, 0, 2], Some((1, 2)));
    fragment.has_ports = false;
    fragment.later_fragment = true;

    let encrypt = [vec![permit(web.clone(), 3)]];
    let list = AccessList::new(&[], encrypt.iter().map(Vec::as_slice));
    assert_eq!(
        list.lookup(&fragment),
        Verdict::Protect {
            group: 0,
            association: 3
        }
    );
    assert_eq!(
        list.lookup(&flow([10, 0, 0, 1], [10, 0, 0, 2], Some((9, 81)))),
        Verdict::NoRule
    );

    let clear = [vec![
        Rule {
            selector: web,
            action: Action::Clear,
        },
        permit(selector(v4(TEN), v4(TEN)), 3),
    ]];
    let list = AccessList::new(&[], clear.iter().map(Vec::as_slice));
    assert_eq!(
        list.lookup(&fragment),
        Verdict::Protect {
            group: 0,
            association: 3
        }
    );
    assert_eq!(
        list.lookup(&flow([10, 0, 0, 1], [10, 0, 0, 2], Some((9, 80)))),
        Verdict::Clear
    );
}

#[test]
fn a_new_generation_forgets_the_old_verdicts() {
    let mut cache = FlowCache::new();
    let flow = flow([10, 0, 0, 1], [10, 0, 0, 2], None);
    assert_eq!(cache.get_or(1, &flow, || Verdict::Clear), Verdict::Clear);
    assert_eq!(
        cache.get_or(1, &flow, || unreachable!("remembered")),
        Verdict::Clear
    );
    assert_eq!(cache.get_or(2, &flow, || Verdict::NoRule), Verdict::NoRule);
}

proptest! {
    #[test]
    fn the_cache_answers_as_the_list_does(
        rules in proptest::collection::vec((0u8..4, 0u8..4, 0u8..4, 0u16..4, any::<bool>()), 1..40),
        flows in proptest::collection::vec((0u8..6, 0u8..6, 0u16..4), 1..300),
    ) {
        let rules: Vec<Rule> = rules.into_iter().map(|(source, low, length, port, clear)| {
            let mut selector = selector(
                v4([10, 0, 0, source, 10, 0, 0, source.saturating_add(length)]),
                v4([10, 0, 0, low, 10, 0, 0, low.saturating_add(length)]),
            );
            if port > 0 {
                selector.destination_ports = port..=port;
            }
            Rule { selector, action: if clear { Action::Clear } else { Action::Protect { association: port } } }
        }).collect();
        let list = AccessList::new(&[], [rules.as_slice()]);
        let mut cache = FlowCache::new();
        for (source, destination, port) in flows {
            let flow = flow([10, 0, 0, source], [10, 0, 0, destination], Some((1, port)));
            prop_assert_eq!(cache.get_or(1, &flow, || list.lookup(&flow)), list.lookup(&flow));
        }
    }
}
