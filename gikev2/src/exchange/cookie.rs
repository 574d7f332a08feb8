//! Cookies: proof that a source address is real, without keeping state (RFC 7296 §2.6).
//!
//! A cookie is a version octet and a MAC over Ni, the address and SPIi under a secret that nobody else knows. The
//! secret is replaced regularly; cookies of the one before it are still accepted.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::crypto::prf::Prf;
use crate::wire::IkeSpi;
use crate::{Entropy, Secret};

/// Octets of a cookie secret.
const SECRET_LENGTH: usize = 32;

struct Generation {
    version: u8,
    secret: Secret,
}

/// Makes and checks cookies.
pub(crate) struct CookieJar {
    current: Generation,
    previous: Option<Generation>,
    lifetime: Duration,
    rotates: Instant,
}

impl CookieJar {
    /// A jar with a fresh secret that is replaced every `lifetime`.
    pub(crate) fn new(now: Instant, lifetime: Duration, entropy: &mut dyn Entropy) -> Self {
        let current = Generation {
            version: 0,
            secret: Secret::random(SECRET_LENGTH, entropy),
        };
        Self {
            current,
            previous: None,
            lifetime,
            rotates: now + lifetime,
        }
    }

    /// Replaces the secret when its time is over. Cheap to call often.
    pub(crate) fn rotate(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if now < self.rotates {
            return;
        }
        let stale = now >= self.rotates + self.lifetime;
        let version = self.current.version.wrapping_add(1);
        let fresh = Generation {
            version,
            secret: Secret::random(SECRET_LENGTH, entropy),
        };
        let previous = std::mem::replace(&mut self.current, fresh);
        self.previous = (!stale).then_some(previous);
        self.rotates = now + self.lifetime;
    }

    /// The cookie for an initiator.
    pub(crate) fn bake(&self, nonce: &[u8], remote: SocketAddr, initiator: IkeSpi) -> Vec<u8> {
        bake(&self.current, nonce, remote, initiator)
    }

    /// Whether `cookie` is one of ours for this initiator.
    pub(crate) fn accepts(
        &self,
        cookie: &[u8],
        nonce: &[u8],
        remote: SocketAddr,
        initiator: IkeSpi,
    ) -> bool {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .filter(|generation| cookie.first() == Some(&generation.version))
            .any(|generation| {
                Secret::new(bake(generation, nonce, remote, initiator)).matches(cookie)
            })
    }
}

fn bake(generation: &Generation, nonce: &[u8], remote: SocketAddr, initiator: IkeSpi) -> Vec<u8> {
    let port = remote.port().to_be_bytes();
    let address = match remote.ip().to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let secret = generation.secret.as_bytes();
    let mac = Prf::HmacSha256.compute(secret, &[&address, &port, &initiator.0, nonce]);
    let mut cookie = vec![generation.version];
    cookie.extend_from_slice(mac.as_bytes());
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            self.0 = self.0.wrapping_add(1);
            out.fill(self.0);
        }
    }

    const INITIATOR: IkeSpi = IkeSpi([7; 8]);
    const LIFETIME: Duration = Duration::from_secs(60);

    fn remote(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 848))
    }

    #[test]
    fn a_cookie_is_good_only_for_the_same_nonce_address_and_spi() {
        let jar = CookieJar::new(Instant::now(), LIFETIME, &mut Counting(0));
        let cookie = jar.bake(&[1; 32], remote(1), INITIATOR);
        assert!(cookie.len() <= 64);
        assert!(jar.accepts(&cookie, &[1; 32], remote(1), INITIATOR));
        assert!(!jar.accepts(&cookie, &[2; 32], remote(1), INITIATOR));
        assert!(!jar.accepts(&cookie, &[1; 32], remote(2), INITIATOR));
        assert!(!jar.accepts(&cookie, &[1; 32], remote(1), IkeSpi([8; 8])));
        assert!(!jar.accepts(&[], &[1; 32], remote(1), INITIATOR));
        assert!(!jar.accepts(&cookie[..32], &[1; 32], remote(1), INITIATOR));
    }

    #[test]
    fn a_cookie_outlives_one_rotation_and_not_two() {
        let mut entropy = Counting(0);
        let start = Instant::now();
        let mut jar = CookieJar::new(start, LIFETIME, &mut entropy);
        let cookie = jar.bake(&[1; 32], remote(1), INITIATOR);
        jar.rotate(start + LIFETIME, &mut entropy);
        assert!(jar.accepts(&cookie, &[1; 32], remote(1), INITIATOR));
        jar.rotate(start + LIFETIME * 2, &mut entropy);
        assert!(!jar.accepts(&cookie, &[1; 32], remote(1), INITIATOR));
    }
}
