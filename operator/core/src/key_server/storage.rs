//! Growth of the volumes: a StatefulSet cannot change the size of its claims, so the claims are changed first and the
//! StatefulSet is then made again around its running pods.

use super::observed::SetView;

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimView {
    /// Its name.
    pub name: String,
    /// Size asked for.
    pub requested: String,
    /// Size it has; none while it has no volume.
    pub capacity: Option<String>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageStep {
    /// Everything has the wanted size, or will have it by itself.
    Rest,
    /// These claims ask for the wanted size.
    Grow(Vec<String>),
    /// The StatefulSet is deleted without its pods, to be made again.
    Recreate,
}

/// Decides.
#[must_use]
pub fn step(size: &str, claims: &[ClaimView], set: Option<&SetView>) -> StorageStep {
    let larger = |than: &str| match (quantity(size), quantity(than)) {
        (Some(size), Some(than)) => size > than,
        _ => false,
    };
    let small: Vec<String> = claims
        .iter()
        .filter(|claim| larger(&claim.requested))
        .map(|claim| claim.name.clone())
        .collect();
    if !small.is_empty() {
        return StorageStep::Grow(small);
    }
    match set {
        Some(set) if !set.deleting && set.storage_size.as_deref().is_some_and(larger) => {
            StorageStep::Recreate
        }
        _ => StorageStep::Rest,
    }
}

/// Claims whose volume is still smaller than asked for.
pub fn growing<'a>(size: &'a str, claims: &'a [ClaimView]) -> impl Iterator<Item = &'a str> {
    claims
        .iter()
        .filter(move |claim| {
            let capacity = claim.capacity.as_deref().and_then(quantity);
            capacity.is_some() && capacity < quantity(size)
        })
        .map(|claim| claim.name.as_str())
}

/// A quantity in thousandths, rounded up; `None` when it is none.
fn quantity(text: &str) -> Option<u128> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let thousandths: u128 = match suffix {
        "" => 1000,
        "m" => 1,
        "k" => 1_000 * 1000,
        "M" => 1_000_000 * 1000,
        "G" => 1_000_000_000 * 1000,
        "T" => 1_000_000_000_000 * 1000,
        "P" => 1_000_000_000_000_000 * 1000,
        "E" => 1_000_000_000_000_000_000 * 1000,
        "Ki" => (1 << 10) * 1000,
        "Mi" => (1 << 20) * 1000,
        "Gi" => (1 << 30) * 1000,
        "Ti" => (1 << 40) * 1000,
        "Pi" => (1 << 50) * 1000,
        "Ei" => (1 << 60) * 1000,
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_u128.checked_pow(exponent)?.checked_mul(1000)?
        }
    };
    let mut total = whole.parse::<u128>().ok()?.checked_mul(thousandths)?;
    if !fraction.is_empty() {
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = fraction.parse::<u128>().ok()?.checked_mul(thousandths)?;
        total = total.checked_add(part.div_ceil(scale))?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, requested: &str, capacity: &str) -> ClaimView {
        ClaimView {
            name: name.to_owned(),
            requested: requested.to_owned(),
            capacity: Some(capacity.to_owned()),
        }
    }

    fn set(size: &str) -> SetView {
        SetView {
            storage_size: Some(size.to_owned()),
            ..SetView::default()
        }
    }

    #[test]
    fn claims_grow_before_the_set_is_made_again() {
        let small = [claim("a", "1Gi", "1Gi"), claim("b", "2Gi", "1Gi")];
        assert_eq!(
            step("2Gi", &small, Some(&set("1Gi"))),
            StorageStep::Grow(vec!["a".to_owned()])
        );
        let grown = [claim("a", "2Gi", "1Gi"), claim("b", "2Gi", "2Gi")];
        assert_eq!(
            step("2Gi", &grown, Some(&set("1Gi"))),
            StorageStep::Recreate
        );
        assert_eq!(growing("2Gi", &grown).collect::<Vec<_>>(), ["a"]);
        assert_eq!(step("2Gi", &grown, Some(&set("2Gi"))), StorageStep::Rest);
        assert_eq!(step("2Gi", &[], None), StorageStep::Rest);
    }

    #[test]
    fn equal_sizes_in_other_words_and_smaller_ones_change_nothing() {
        let claims = [claim("a", "1024Mi", "1Gi")];
        for size in ["1Gi", "1073741824", "0.5Gi", "nonsense"] {
            assert_eq!(
                step(size, &claims, Some(&set("1Gi"))),
                StorageStep::Rest,
                "{size}"
            );
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("1.5k", Some(1_500_000)),
            ("100m", Some(100)),
            ("2Ki", Some(2_048_000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("0.0001", Some(1)),
            ("", None),
            ("Gi", None),
            ("1Xi", None),
            ("-1", None),
        ] {
            assert_eq!(quantity(text), expected, "{text}");
        }
    }
}
