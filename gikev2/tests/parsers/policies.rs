//! Broken rules of GSA and KD payloads, one at a time (RFC 9838 §4.4, §4.5).

use gikev2::wire::*;

use super::malformed::{field, octets, parse};

const SELECTORS: &str = "07000010 0000ffff 00000000 ffffffff 07000010 0000ffff ef010203 ef010203";
const CIPHER: &str = "0300000c 01000014 800e0100";
const NUMBERS: &str = "00000008 05000002";

/// A GSA payload with one ESP policy of these parts behind the SPI.
fn esp_policy(parts: &[&str]) -> Result<Vec<Payload>, ParseError> {
    let parts = parts.concat();
    let length = octets(&parts).len() + 8;
    let content = format!("0304{length:04x} c0ffee01 {parts}");
    parse(PayloadType::GROUP_SECURITY_ASSOCIATION, &content)
}

#[test]
fn a_policy_ends_its_transforms_itself_and_stays_inside() {
    assert!(esp_policy(&[SELECTORS, CIPHER, NUMBERS]).is_ok());
    // Nobody ends the list: the attribute behind is read as a transform.
    let endless = ["03000008 05000002", "00010004 00000e10"];
    for (what, parts) in [
        ("transform last substructure", vec![SELECTORS, CIPHER]),
        (
            "transform type",
            vec![SELECTORS, CIPHER, endless[0], endless[1]],
        ),
        ("transform last substructure", vec![SELECTORS]),
        ("transform ID", vec![SELECTORS, "00000007 05000002"]),
        ("transform", vec![SELECTORS, "00000020 05000002"]),
        (
            "attribute value",
            vec![SELECTORS, "0000000c 01000014 000e0100"],
        ),
        ("traffic selector type", vec![]),
        ("traffic selector", vec!["07000028", SELECTORS]),
        ("traffic selector type", vec!["09000010", SELECTORS]),
        (
            "traffic selector addresses",
            vec!["07000010 0000ffff 00000002 00000001"],
        ),
        (
            "traffic selector ports",
            vec!["07000010 00020001 00000001 00000002"],
        ),
    ] {
        assert_eq!(field(esp_policy(&parts)), what, "{parts:?}");
    }
}

#[test]
fn attributes_have_their_registered_form_and_length() {
    for (what, attribute) in [
        ("GSA_KEY_LIFETIME", "80010e10"),
        ("GSA_KEY_LIFETIME", "00010003 000e10"),
        ("GSA_KEY_LIFETIME", "00010005 0000000e10"),
        ("GSA_KEY_LIFETIME", "00010004 00000e10 00010004 00000e10"),
        ("GSA_INITIAL_MESSAGE_ID", "00020004 00000001"),
        ("GSA_NEXT_SPI", "00030010 00000000000000000000000000000000"),
        ("ENCAPSULATION", "40030002 0002"),
        ("attribute value", "00010004 00000e"),
        ("attribute length", "000100"),
    ] {
        let found = field(esp_policy(&[SELECTORS, CIPHER, NUMBERS, attribute]));
        assert_eq!(found, what, "{attribute}");
    }
    let unknown = esp_policy(&[SELECTORS, CIPHER, NUMBERS, "00040001 07 80051234"]);
    let Ok([Payload::GroupSecurityAssociation(gsa)]) = unknown.as_deref() else {
        panic!("unknown attributes are skipped: {unknown:?}")
    };
    assert_eq!(
        gsa.data()
            .map(|policy| policy.unknown.len())
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn policies_and_bags_have_known_protocols_and_their_spi_size() {
    let (gsa, kd) = (
        PayloadType::GROUP_SECURITY_ASSOCIATION,
        PayloadType::KEY_DOWNLOAD,
    );
    for (what, payload_type, content) in [
        ("protocol of a policy or key bag", gsa, "04040008 c0ffee01"),
        ("protocol of a policy or key bag", kd, "01040008 c0ffee01"),
        ("SPI size of a policy or key bag", gsa, "03100008 c0ffee01"),
        ("SPI size of a policy or key bag", gsa, "06040008 c0ffee01"),
        ("SPI size of a policy or key bag", kd, "03000008 c0ffee01"),
        ("GSA policy", gsa, "03040003"),
        ("GSA policy", gsa, "03040009 c0ffee01"),
        ("GSA policy SPI size", gsa, "03"),
        ("GW policy", gsa, "00000004 00000004"),
        ("GWP_ATD", gsa, "0000000c 8001000a 8001000a"),
        ("GWP_ATD", gsa, "0000000a 00010002 000a"),
        ("Member Key Bag", kd, "00000004 00000004"),
        ("SA_KEY", kd, "03040008 c0ffee01"),
        ("Key ID", kd, "0304000c c0ffee01 00010000"),
    ] {
        assert_eq!(field(parse(payload_type, content)), what, "{content}");
    }
}

/// A KD payload with one Group Key Bag for ESP or one Member Key Bag, holding one attribute.
fn bag(group: bool, attribute: &str) -> Result<Vec<Payload>, ParseError> {
    let length = octets(attribute).len() + if group { 8 } else { 4 };
    let start = if group {
        format!("0304{length:04x} c0ffee01")
    } else {
        format!("0000{length:04x}")
    };
    parse(PayloadType::KEY_DOWNLOAD, &format!("{start} {attribute}"))
}

#[test]
fn wrapped_keys_have_sane_lengths_and_the_right_key_ids() {
    let key = "00".repeat(16);
    let sa_key = |key_id: &str, octets: usize| {
        let length = octets + 8;
        format!("0001{length:04x} {key_id} 00000000 {}", "00".repeat(octets))
    };
    assert!(bag(true, &sa_key("00000000", 48)).is_ok());
    assert_eq!(
        field(bag(true, &sa_key("00000001", 48))),
        "Key ID of an SA_KEY"
    );
    for octets in [0, 8, 15, 20, 272] {
        assert_eq!(
            field(bag(true, &sa_key("00000000", octets))),
            "encrypted key"
        );
    }
    let two = [sa_key("00000000", 48), sa_key("00000000", 48)].concat();
    assert_eq!(field(bag(true, &two)), "SA_KEY of a data SA");
    assert_eq!(
        field(bag(false, &format!("00010018 00000000 00000001 {key}"))),
        "Key ID of a WRAP_KEY"
    );
    assert!(bag(false, &format!("00010018 00000007 00000001 {key}")).is_ok());
    assert_eq!(field(bag(false, "00020001 30 00020001 30")), "AUTH_KEY");
    assert_eq!(
        field(bag(false, &format!("00020801 {}", "30".repeat(2049)))),
        "AUTH_KEY"
    );
    for wrong in ["00030000", "00030005 0000000005", "80030005"] {
        assert_eq!(field(bag(false, wrong)), "GM_SENDER_ID", "{wrong}");
    }
}

/// RFC 9838 §4.5.3.3 does not fix the width.
#[test]
fn sender_ids_of_one_to_four_octets_are_read() {
    for (attribute, expected) in [
        ("00030001 05", 5),
        ("00030002 0105", 0x105),
        ("00030003 010005", 0x1_0005),
        ("00030004 ffffffff", u32::MAX),
    ] {
        let read = bag(false, attribute);
        let Ok([Payload::KeyDownload(download)]) = read.as_deref() else {
            panic!("{attribute}: {read:?}")
        };
        assert_eq!(
            download.member().map(|bag| bag.sender_ids.clone()),
            Some(vec![expected])
        );
    }
}
