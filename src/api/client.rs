//! The origin of a request, from which the guard decides what it may do.

use std::net::SocketAddr;

/// The way by which a request came to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// By the control socket.
    Control {
        /// Whether the user at the other end may ask anything at all.
        is_allowed: bool,
    },
    /// By a TCP connection to the web listener.
    Web { peer: SocketAddr, local: SocketAddr },
}

impl Client {
    /// Whether the request comes from this computer over loopback.
    pub fn is_on_loopback(&self) -> bool {
        match self {
            Client::Control { .. } => true,
            Client::Web { peer, local } => {
                peer.ip().to_canonical().is_loopback() && local.ip().to_canonical().is_loopback()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_must_be_loopback() {
        let web = |peer: &str, local: &str| {
            Client::Web { peer: peer.parse().unwrap(), local: local.parse().unwrap() }.is_on_loopback()
        };
        assert!(web("127.0.0.1:5", "127.0.0.1:8067") && web("[::1]:5", "[::1]:8067"));
        assert!(web("[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:8067"), "a listener for both versions of IP");
        assert!(!web("10.0.0.9:5", "10.0.0.1:8067") && !web("10.0.0.1:5", "127.0.0.1:8067"));
    }
}
