//! One broken rule at a time: the error says which field, where, and what was found.

use gikev2::wire::*;

pub(crate) fn octets(text: &str) -> Vec<u8> {
    let digits: String = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    hex::decode(digits).expect("hexadecimal")
}

/// Reads one payload with this content.
pub(crate) fn parse(payload_type: PayloadType, content: &str) -> Result<Vec<Payload>, ParseError> {
    let content = octets(content);
    let length = u16::try_from(content.len() + 4).expect("short");
    let octets = [&[0, 0], length.to_be_bytes().as_slice(), &content].concat();
    let first = payload_type;
    Chain {
        first,
        octets: octets.into(),
    }
    .parse()
}

/// What an error is about.
pub(crate) fn field(result: Result<Vec<Payload>, ParseError>) -> &'static str {
    match result.expect_err("malformed") {
        ParseError::Truncated { field, .. }
        | ParseError::Length { field, .. }
        | ParseError::Value { field, .. }
        | ParseError::Duplicate { field, .. }
        | ParseError::Missing { field, .. }
        | ParseError::TooMany { field, .. } => field,
        ParseError::UnsupportedCriticalPayload { .. } => "critical payload",
    }
}

const NUMBERS: &str = "00000008 05000002";

#[test]
fn deletions_have_the_spi_size_and_count_of_their_protocol() {
    for (what, content) in [
        ("delete protocol", "04040001 c0ffee01"),
        ("delete SPI size", "03100001 c0ffee01"),
        ("delete SPI size", "01080001 c0ffee01c0ffee01"),
        ("delete SPI size", "06040001 c0ffee01"),
        ("number of SPIs", "03040000"),
        ("number of SPIs", "01000001"),
        ("deleted SPI", "03040002 c0ffee01"),
        ("payload", "03040001 c0ffee01 c0ffee02"),
        ("deleted SPIs", "0304ffff c0ffee01"),
    ] {
        assert_eq!(
            field(parse(PayloadType::DELETE, content)),
            what,
            "{content}"
        );
    }
}

#[test]
fn fields_of_the_other_payloads_are_checked() {
    let repeat = |octets: usize| "00".repeat(octets);
    for (what, payload_type, content) in [
        (
            "identification",
            PayloadType::IDENTIFICATION_INITIATOR,
            "01000000 c00002".to_owned(),
        ),
        (
            "identification",
            PayloadType::GROUP_IDENTIFICATION,
            "05000000 c0000201".to_owned(),
        ),
        (
            "identification",
            PayloadType::GROUP_IDENTIFICATION,
            format!("0b000000 {}", repeat(1025)),
        ),
        (
            "identification reserved",
            PayloadType::IDENTIFICATION_RESPONDER,
            "0b0000".to_owned(),
        ),
        ("nonce", PayloadType::NONCE, repeat(15)),
        ("nonce", PayloadType::NONCE, repeat(257)),
        (
            "key exchange data",
            PayloadType::KEY_EXCHANGE,
            "001f0000".to_owned(),
        ),
        (
            "notify SPI",
            PayloadType::NOTIFY,
            "0304402d 000000".to_owned(),
        ),
        (
            "algorithm identifier",
            PayloadType::AUTHENTICATION,
            "0e000000 08 3005".to_owned(),
        ),
        (
            "ASN.1 length",
            PayloadType::AUTHENTICATION,
            "0e000000".to_owned(),
        ),
        (
            "number of transforms",
            PayloadType::SECURITY_ASSOCIATION,
            format!("00000010 01010002 {NUMBERS}"),
        ),
        (
            "proposal last substructure",
            PayloadType::SECURITY_ASSOCIATION,
            format!("01000010 01010001 {NUMBERS}"),
        ),
        (
            "proposal",
            PayloadType::SECURITY_ASSOCIATION,
            format!("00000012 01010001 {NUMBERS} 0000"),
        ),
        (
            "payload",
            PayloadType::SECURITY_ASSOCIATION,
            format!("00000010 01010001 {NUMBERS} 00"),
        ),
        (
            "certificate encoding",
            PayloadType::CERTIFICATE,
            String::new(),
        ),
    ] {
        assert_eq!(
            field(parse(payload_type, &content)),
            what,
            "{payload_type} {content}"
        );
    }
}

#[test]
fn unknown_payloads_are_skipped_unless_they_are_critical() {
    let known = "0000000c 0000402d 00000001";
    for payload_type in [47, 48, 54, 200] {
        let skipped = Chain {
            first: PayloadType(payload_type),
            octets: octets(&format!("29000006 abcd {known}")).into(),
        };
        assert_eq!(
            skipped.parse(),
            Ok(vec![Payload::Notify(Notify::group_sender(1))])
        );
        let critical = Chain {
            first: PayloadType(payload_type),
            octets: octets(&format!("29800006 abcd {known}")).into(),
        };
        assert_eq!(
            critical.parse(),
            Err(ParseError::UnsupportedCriticalPayload {
                payload_type: PayloadType(payload_type)
            })
        );
    }
    // The bit means nothing in front of a type that is known.
    let chain = Chain {
        first: PayloadType::NOTIFY,
        octets: octets("0080000c 0000402d 00000001").into(),
    };
    assert!(chain.parse().is_ok());
}

#[test]
fn encrypted_payloads_end_a_message_and_are_never_inside_another() {
    for payload_type in [PayloadType::ENCRYPTED, PayloadType::ENCRYPTED_FRAGMENT] {
        let content = "00".repeat(60);
        assert_eq!(field(parse(payload_type, &content)), "payload type");
    }
    let message = |next: &str, behind: &str| {
        let length = 28 + octets(behind).len();
        octets(&format!(
            "0102030405060708 1112131415161718 {next}202708 00000001 {length:08x} {behind}"
        ))
    };
    let sealed = "00".repeat(25);
    let whole = message("2e", &format!("2900001d {sealed}"));
    assert!(Message::parse(&whole).is_ok_and(|message| message.protected.is_some()));
    for (what, datagram) in [
        (
            "octets behind",
            message("2e", &format!("2900001d {sealed} 00")),
        ),
        (
            "no room for an ICV",
            message("2e", &format!("2900001c {}", "00".repeat(24))),
        ),
        (
            "fragment zero",
            message("35", &format!("29000021 00000001 {sealed}")),
        ),
        (
            "fragment beyond the total",
            message("35", &format!("29000021 00030002 {sealed}")),
        ),
        ("no fragment numbers", message("35", "29000006 0001")),
        (
            "version 1",
            message("2e", &format!("2900001d {sealed}")).tap(|octets| octets[17] = 0x10),
        ),
        (
            "a wrong length",
            message("2e", &format!("2900001d {sealed}")).tap(|octets| octets[27] ^= 1),
        ),
    ] {
        assert!(Message::parse(&datagram).is_err(), "{what}");
    }
    let fragment = message("35", &format!("29000021 00020002 {sealed}"));
    assert!(Message::parse(&fragment).is_ok());
    // RFC 7296 §2.5: a higher minor version is read like ours.
    let newer = message("2e", &format!("2900001d {sealed}")).tap(|octets| octets[17] = 0x21);
    assert!(Message::parse(&newer).is_ok());
}

/// Changes a value in passing.
trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Tap for Vec<u8> {}

#[test]
fn the_signature_is_found_wherever_auth_stands_and_only_once() {
    let auth = Payload::Authentication(Authentication::Signature {
        algorithm_identifier: vec![0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
        signature: vec![0xaa; 64],
    });
    let delete = Payload::Delete(Delete::exclusion());
    for payloads in [
        vec![auth.clone(), delete.clone()],
        vec![delete.clone(), auth.clone()],
    ] {
        let chain = Chain::write(&payloads).expect("fits");
        let range = chain
            .signature_range()
            .expect("well-formed")
            .expect("an AUTH payload");
        assert_eq!(chain.octets[range.clone()], [0xaa; 64]);
        assert_eq!(chain.octets[range.start - 1], 0x70);
    }
    let twice = Chain::write(&[auth.clone(), delete.clone(), auth]).expect("fits");
    assert!(matches!(
        twice.signature_range(),
        Err(ParseError::Duplicate { .. })
    ));
    let none = Chain::write(&[delete]).expect("fits");
    assert_eq!(none.signature_range(), Ok(None));
}

#[test]
fn errors_say_where() {
    let error = parse(PayloadType::NONCE, &"00".repeat(15)).expect_err("short");
    assert_eq!(
        error.to_string(),
        "nonce at offset 4: length must be 16 to 256, found 15"
    );
    let error = parse(PayloadType::NOTIFY, "0304402d 000000").expect_err("short");
    assert_eq!(
        error.to_string(),
        "notify SPI at offset 8: 4 octets needed, 3 remain"
    );
}
