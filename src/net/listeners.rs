//! Listening sockets by address. TFTP and HTTP open and close them as the served addresses come and go.

use std::net::{Ipv4Addr, SocketAddr};

use crate::net::StartError;
use crate::net::served::{Served, listed};

/// The addresses to listen on: those that are `given`, or all addresses of the served interfaces if none are.
pub fn listen_addresses(given: &[Ipv4Addr], port: u16, served: &Served) -> Vec<SocketAddr> {
    let of_interfaces = served.interfaces().flat_map(|interface| interface.addresses.iter().copied());
    let addresses: Vec<Ipv4Addr> = if given.is_empty() { of_interfaces.collect() } else { given.to_vec() };
    addresses.into_iter().map(|address| SocketAddr::from((address, port))).collect()
}

/// Open listeners by address.
pub type Listeners<L> = Vec<(SocketAddr, L)>;

/// The addresses of the listeners, for log lines.
pub fn addresses_text<L>(listeners: &Listeners<L>) -> String {
    let text = listed(listeners.iter().map(|(address, _)| *address));
    if text.is_empty() { "no address".to_owned() } else { text }
}

/// Closes the listeners at addresses that are not `wanted` and opens those that are missing. Returns whether anything
/// changed, and the errors of listeners that could not be opened.
pub fn update<L>(
    listeners: &mut Listeners<L>,
    wanted: &[SocketAddr],
    open: impl Fn(SocketAddr) -> Result<L, StartError>,
) -> (bool, Vec<StartError>) {
    let before = listeners.len();
    listeners.retain(|(address, _)| wanted.contains(address));
    let mut changed = listeners.len() < before;
    let mut refused = Vec::new();
    for address in wanted {
        if listeners.iter().any(|(open, _)| open == address) {
            continue;
        }
        match open(*address) {
            Ok(listener) => {
                listeners.push((*address, listener));
                changed = true;
            }
            Err(error) => refused.push(error),
        }
    }
    (changed, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_07_listeners_follow_the_served_addresses() {
        let at = |last| SocketAddr::from(([10, 0, 0, last], 69));
        let mut listeners: Listeners<&str> = vec![(at(1), "first"), (at(2), "second")];
        let open = |address: SocketAddr| match address {
            taken if taken == at(3) => Err(StartError("taken".to_owned())),
            _ => Ok("new"),
        };
        let (changed, refused) = update(&mut listeners, &[at(2), at(3), at(4)], open);
        assert!(changed && refused.len() == 1, "{refused:?}");
        assert_eq!(listeners, [(at(2), "second"), (at(4), "new")]);
        let (changed, refused) = update(&mut listeners, &[at(4), at(2), at(3)], open);
        assert!(!changed && refused.len() == 1, "a failed address is retried");
    }
}
