//! Packets written as a capture file, and what tshark says about them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::filter;

/// Fields of each packet, as tshark names and prints them; a field that occurs several times in a packet is joined
/// with commas.
///
/// `tables` are tables of tshark's preferences directory, by file name (`esp_sa`, `ikev2_decryption_table`);
/// `preferences` are `-o` and `-d` options.
pub(crate) fn dissect(
    packets: &[Vec<u8>],
    tables: &[(&str, String)],
    options: &[&str],
    fields: &[&str],
) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().expect("a directory");
    let capture = directory.path().join("packets.pcap");
    write_pcap(&capture, packets);
    let settings = directory.path().join("wireshark");
    fs::create_dir(&settings).expect("a directory");
    for (name, lines) in tables {
        fs::write(settings.join(name), lines).expect("a table");
    }
    let mut command = Command::new("tshark");
    command
        .env("WIRESHARK_CONFIG_DIR", &settings)
        .env("HOME", directory.path())
        .arg("-n")
        .arg("-r")
        .arg(&capture)
        .args(options)
        .args(["-T", "fields", "-E", "separator=|", "-E", "aggregator=,"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = String::from_utf8(filter::run(&mut command, b"")).expect("tshark prints text");
    output
        .lines()
        .map(|line| line.split('|').map(str::to_owned).collect())
        .collect()
}

/// Writes a capture of IP packets, without link headers.
fn write_pcap(file: &Path, packets: &[Vec<u8>]) {
    const LINKTYPE_RAW: u32 = 101;
    let mut octets = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, LINKTYPE_RAW] {
        octets.extend_from_slice(&u32::to_le_bytes(word));
    }
    for (seconds, packet) in (0u32..).zip(packets) {
        let length = u32::try_from(packet.len()).expect("a packet");
        for word in [seconds, 0, length, length] {
            octets.extend_from_slice(&word.to_le_bytes());
        }
        octets.extend_from_slice(packet);
    }
    fs::write(file, octets).expect("a capture file");
}
