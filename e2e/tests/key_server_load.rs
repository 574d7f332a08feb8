//! The load generator on real key servers, with few members: everything is counted and nothing is timed.

use std::path::Path;
use std::time::Duration;

use e2e::load::credentials::Method;
use e2e::load::servers::Terms;
use e2e::load::{registrations, rekey};
use gikev2::exchange::proposal::KeyExchangeChoice;

const MEMBERS: usize = 50;

fn plan(servers: usize, authentication: Method) -> registrations::Plan {
    let programs = Path::new(env!("CARGO_BIN_EXE_getvpn-load")).parent();
    registrations::Plan {
        members: MEMBERS,
        servers,
        authentication,
        key_exchange: KeyExchangeChoice::X25519MlKem768,
        parallel: 20,
        limit: Duration::from_secs(60),
        programs: programs.expect("a directory").to_owned(),
        idle: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_registers_once_and_acknowledges_every_rekey() {
    let plan = rekey::Plan {
        registrations: plan(1, Method::PreSharedKey),
        terms: Terms::default(),
        rekeys: 3,
        every: Duration::ZERO,
    };
    let mut seen = 0;
    let report = rekey::run(&plan, |_, _| seen += 1).await.expect("it runs");
    let registered = &report.registrations;
    assert!(registered.is_clean(), "{registered}");
    assert_eq!(registered.registrations.times.len(), MEMBERS);
    assert_eq!((seen, report.rekeys.len()), (3, 3));
    for rekey in &report.rekeys {
        assert_eq!(rekey.addressed, MEMBERS, "{rekey}");
        assert_eq!(rekey.members.times.len(), MEMBERS, "{rekey}");
        assert_eq!(rekey.members.key_sets, 1, "{rekey}");
        assert_eq!(rekey.lost(), 0, "{rekey}");
    }
    assert!(report.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_certificates_register_at_three_key_servers_and_hold_the_same_keys() {
    let report = registrations::run(&plan(3, Method::Certificate))
        .await
        .expect("it runs");
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.servers, report.listed), (3, MEMBERS));
}

// GET VPN row 32
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_joins_loses_no_member_whether_by_pre_shared_key_or_by_certificate() {
    const STORM: usize = 200;
    for authentication in [Method::PreSharedKey, Method::Certificate] {
        let storm = registrations::Plan {
            members: STORM,
            parallel: STORM,
            ..plan(1, authentication)
        };
        let report = registrations::run(&storm).await.expect("it runs");
        // Both rates, as docs/explanation/performance.md has them of a quiet machine.
        println!("{report}");
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.registrations.times.len(), STORM, "{report}");
        assert_eq!(report.listed, STORM, "{report}");
    }
}
