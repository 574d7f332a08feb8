//! Whether a host answers from where the member is.
//!
//! A member in a pod may not make raw sockets, so it cannot ping. It connects by TCP to a port where nobody listens: the
//! refusal is an answer of the other kernel, and it went both ways through the data path.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Connects; a connection and a refusal are both answers.
///
/// # Errors
/// Why there was no answer.
pub fn reach(target: SocketAddr, patience: Duration) -> Result<(), String> {
    match TcpStream::connect_timeout(&target, patience) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(format!(
            "{} did not answer within {} s",
            target.ip(),
            patience.as_secs()
        )),
        Err(error) => Err(format!("{}: {error}", target.ip())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[test]
    fn a_refusal_is_an_answer_and_so_is_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        assert_eq!(reach(address, PATIENCE), Ok(()));
        drop(listener);
        assert_eq!(reach(address, PATIENCE), Ok(()));
    }

    #[test]
    fn an_address_without_a_way_is_an_error_that_names_it() {
        // A multicast address is never connected to.
        let target = "224.0.0.1:9".parse().expect("an address");
        let error = reach(target, PATIENCE).expect_err("no answer");
        assert!(error.starts_with("224.0.0.1: "), "{error}");
    }
}
