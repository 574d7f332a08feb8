//! How fast the packet path is, against the bare cable: iperf3 in both namespaces.
//!
//! `cargo test --release -p gm-sidecar --test datapath -- --ignored --nocapture speed`

use std::process::{Child, Stdio};
use std::time::Duration;

use gm_core::data_plane::{AntiReplay, Encapsulation};

use super::pair::{End, Manner, Pair, pair};

/// A server that is killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(end: &End) -> Server {
    let child = end
        .command("iperf3 -s -p 5301")
        .stdout(Stdio::null())
        .spawn()
        .expect("iperf3 runs");
    let server = Server(child);
    super::wait_until("iperf3 to listen", || {
        let output = end
            .command("ss -Hltn sport = 5301")
            .output()
            .expect("ss runs");
        !output.stdout.is_empty()
    });
    server
}

/// Gbit/s at the receiver.
fn measure(pair: &Pair, what: &str, target: &str, streams: u32, extra: &str) -> f64 {
    let line = format!("iperf3 -c {target} -p 5301 -t 4 -P {streams} -J {extra}");
    let output = pair.left.command(&line).output().expect("iperf3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let received = text
        .split("\"sum_received\"")
        .nth(1)
        .or_else(|| text.split("\"sum\"").last())
        .unwrap_or_default();
    let rate = received
        .split("\"bits_per_second\":")
        .nth(1)
        .and_then(|rest| rest.split([',', '}']).next())
        .and_then(|number| number.trim().parse::<f64>().ok())
        .unwrap_or(f64::NAN)
        / 1e9;
    println!("{what:<44} {rate:>6.2} Gbit/s");
    rate
}

#[test]
#[ignore = "measures; run it alone, in release"]
fn speed() {
    for (what, encapsulation, anti_replay) in [
        (
            "ESP in UDP, counter window",
            Encapsulation::Udp,
            AntiReplay::COUNTER,
        ),
        (
            "ESP in UDP, time and counter window",
            Encapsulation::Udp,
            AntiReplay::time(Duration::from_secs(5)),
        ),
        (
            "raw ESP, counter window",
            Encapsulation::Raw,
            AntiReplay::COUNTER,
        ),
    ] {
        let Some(pair) = pair(Manner {
            encapsulation,
            anti_replay,
            ..Manner::default()
        }) else {
            return;
        };
        let _server = serve(&pair.right);
        measure(&pair, &format!("{what}, TCP"), "10.77.0.2", 1, "-C cubic");
        measure(
            &pair,
            &format!("{what}, TCP x4"),
            "10.77.0.2",
            4,
            "-C cubic",
        );
        measure(
            &pair,
            &format!("{what}, TCP over IPv6"),
            "fd77::2",
            1,
            "-C cubic",
        );
        let drops = [pair.left.all_drops(), pair.right.all_drops()];
        println!("{:<44} {drops:?}", "  drops left, right");
        if encapsulation == Encapsulation::Udp {
            for end in [&pair.left, &pair.right] {
                super::pair::ip(&format!(
                    "-n {} rule del not fwmark 0x4356 lookup 77",
                    end.namespace
                ));
            }
            measure(&pair, "bare cable, TCP", "10.77.0.2", 1, "-C cubic");
        }
    }
}
