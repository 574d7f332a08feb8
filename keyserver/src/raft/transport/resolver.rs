//! Resolves a peer's name anew for each attempt to connect, one look-up at a time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::task::JoinHandle;

/// Looks one `host:port` up.
///
/// A look-up that outlives the attempt it was for goes on and serves the next attempt: a name
/// server that does not answer never piles up threads.
pub(crate) struct Resolver {
    address: String,
    under_way: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Resolver {
    /// A resolver of `address`.
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            under_way: None,
        }
    }

    /// The addresses the name has now. Cancel-safe.
    ///
    /// # Errors
    /// When the name is not known (yet) or cannot be looked up; the message names it.
    pub(crate) async fn addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        // An address is its own answer.
        if let Ok(address) = self.address.parse() {
            return Ok(vec![address]);
        }
        let address = self.address.clone();
        let task = self.under_way.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || {
                address.to_socket_addrs().map(|found| found.collect())
            })
        });
        let result = task.await;
        self.under_way = None;
        let refuse = |what: String| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("the name in {} cannot be looked up: {what}", self.address),
            )
        };
        match result {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                Err(refuse("it has no address".to_owned()))
            }
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(refuse(error.to_string())),
            Err(error) => Err(refuse(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_named_and_asked_for_again() {
        let mut resolver = Resolver::new("ks-0.does-not-exist.invalid:9443");
        for _ in 0..2 {
            let error = resolver.addresses().await.expect_err("no such name");
            assert!(
                error
                    .to_string()
                    .contains("ks-0.does-not-exist.invalid:9443"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn an_address_needs_no_name_server() {
        let mut resolver = Resolver::new("[::1]:9443");
        let addresses = resolver.addresses().await.expect("an address");
        assert_eq!(addresses, ["[::1]:9443".parse().expect("address")]);
    }
}
