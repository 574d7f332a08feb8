//! The ordered list of key servers: the first that answers is used, and every new round starts
//! with the preferred one again.

use std::net::SocketAddr;

/// Which key server to ask next.
#[derive(Debug, Clone)]
pub(super) struct KeyServerList {
    servers: Vec<SocketAddr>,
    position: usize,
    rounds: u32,
}

impl KeyServerList {
    /// A list in order of preference.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            position: 0,
            rounds: 0,
        }
    }

    /// The key server whose turn it is; `None` only for an empty list.
    pub(super) fn current(&self) -> Option<SocketAddr> {
        self.servers.get(self.position).copied()
    }

    /// Complete rounds without success since the last [`KeyServerList::restart`].
    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Goes on to the next key server; `false` when the round is over and the list starts anew.
    pub(super) fn advance(&mut self) -> bool {
        self.position += 1;
        if self.position < self.servers.len() {
            return true;
        }
        self.position = 0;
        self.rounds = self.rounds.saturating_add(1);
        false
    }

    /// Takes over another list. It starts with its preferred key server.
    pub(super) fn replace(&mut self, servers: Vec<SocketAddr>) {
        self.servers = servers;
        self.restart();
    }

    /// Starts with the preferred key server again.
    pub(super) fn restart(&mut self) {
        self.position = 0;
        self.rounds = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_asked_in_order_and_rounds_are_counted() {
        let servers: Vec<SocketAddr> = ["10.0.0.1:848", "10.0.0.2:848"]
            .map(|text| text.parse().expect("address"))
            .to_vec();
        let mut list = KeyServerList::new(servers.clone());
        assert_eq!(list.current(), Some(servers[0]));
        assert!(list.advance());
        assert_eq!(list.current(), Some(servers[1]));
        assert!(!list.advance());
        assert_eq!((list.current(), list.rounds()), (Some(servers[0]), 1));
        list.advance();
        list.restart();
        assert_eq!((list.current(), list.rounds()), (Some(servers[0]), 0));
    }
}
