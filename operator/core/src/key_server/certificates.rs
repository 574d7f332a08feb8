//! Which certificates a set of key servers has, and when one is due.

use crate::key_server::inputs::Inputs;
use crate::names;

/// Longest life of a certificate that the operator issues, in seconds: a year.
const LONGEST: u64 = 365 * 24 * 3600;
/// Shortest, in seconds: an hour.
const SHORTEST: u64 = 3600;

/// A certificate that there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Common name of its subject.
    pub common_name: String,
    /// DNS names, sorted.
    pub dns_names: Vec<String>,
    /// Life, in seconds.
    pub seconds: u64,
    /// Seconds before its end at which it is renewed.
    pub renew_before: u64,
}

/// A certificate that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// DNS names, sorted.
    pub dns_names: Vec<String>,
    /// Start of its validity, in seconds of UNIX time.
    pub not_before: i64,
    /// End of its validity, in seconds of UNIX time.
    pub not_after: i64,
    /// Whether an authority of today issued it.
    pub issued_by_us: bool,
}

/// Why a certificate is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// There is none, or none that can be read.
    Missing,
    /// It comes from an authority of yesterday.
    OtherAuthority,
    /// It has other names.
    OtherNames,
    /// It ends soon.
    Ending,
}

/// The certificate of the cooperative protocol and the admin API: every key server of the set, by its name.
#[must_use]
pub fn tls(inputs: &Inputs) -> Wanted {
    wanted(
        inputs,
        names::key_servers(&inputs.group),
        vec![format!(
            "*.{}",
            names::domain(&inputs.group, &inputs.namespace)
        )],
    )
}

/// The certificate towards members.
#[must_use]
pub fn ike(inputs: &Inputs) -> Wanted {
    let identity = operator_api::pod::key_server_identity(
        &names::key_servers(&inputs.group),
        &inputs.namespace,
    );
    wanted(inputs, identity.clone(), vec![identity])
}

/// The client certificate of the admin API, for people.
#[must_use]
pub fn admin(inputs: &Inputs) -> Wanted {
    wanted(
        inputs,
        format!("administrator of {}", inputs.group),
        Vec::new(),
    )
}

/// Whether a certificate has to be issued at `now`, in seconds of UNIX time.
#[must_use]
pub fn due(wanted: &Wanted, present: Option<&Present>, now: u64) -> Option<Due> {
    let Some(present) = present else {
        return Some(Due::Missing);
    };
    if !present.issued_by_us {
        return Some(Due::OtherAuthority);
    }
    if present.dns_names != wanted.dns_names {
        return Some(Due::OtherNames);
    }
    (now >= renewal(wanted, present)).then_some(Due::Ending)
}

/// When the certificate is to be renewed, in seconds of UNIX time.
#[must_use]
pub fn renewal(wanted: &Wanted, present: &Present) -> u64 {
    let end = u64::try_from(present.not_after).unwrap_or(0);
    end.saturating_sub(wanted.renew_before)
}

fn wanted(inputs: &Inputs, common_name: String, dns_names: Vec<String>) -> Wanted {
    let seconds = inputs.certificate_seconds.clamp(SHORTEST, LONGEST);
    Wanted {
        common_name,
        dns_names,
        seconds,
        // Never so early that a new certificate is due at once.
        renew_before: inputs.renew_before_seconds.min(seconds / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn certificate() -> (Wanted, Present) {
        let wanted = Wanted {
            common_name: "a".to_owned(),
            dns_names: vec!["a".to_owned()],
            seconds: 90 * DAY,
            renew_before: 30 * DAY,
        };
        let present = Present {
            dns_names: vec!["a".to_owned()],
            not_before: 0,
            not_after: i64::try_from(90 * DAY).expect("small"),
            issued_by_us: true,
        };
        (wanted, present)
    }

    #[test]
    fn a_certificate_is_renewed_before_its_end_and_not_earlier() {
        let (wanted, present) = certificate();
        assert_eq!(due(&wanted, Some(&present), 60 * DAY - 1), None);
        assert_eq!(due(&wanted, Some(&present), 60 * DAY), Some(Due::Ending));
        assert_eq!(due(&wanted, Some(&present), 100 * DAY), Some(Due::Ending));
    }

    #[test]
    fn a_missing_a_foreign_and_a_misnamed_certificate_are_due_at_once() {
        let (wanted, present) = certificate();
        assert_eq!(due(&wanted, None, 0), Some(Due::Missing));
        let foreign = Present {
            issued_by_us: false,
            ..present.clone()
        };
        assert_eq!(due(&wanted, Some(&foreign), 0), Some(Due::OtherAuthority));
        let misnamed = Present {
            dns_names: vec!["b".to_owned()],
            ..present
        };
        assert_eq!(due(&wanted, Some(&misnamed), 0), Some(Due::OtherNames));
    }
}
