//! The sockets that follow the addresses which are served: they are opened and closed as addresses come and go.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::net::StartError;
use crate::net::served::{Served, listed};

/// Where to listen: on the addresses `given`, or if there are none on those of the interfaces.
pub fn listen_addresses(given: &[Ipv4Addr], port: u16, served: &Served) -> Vec<SocketAddrV4> {
    let of_interfaces = served.interfaces().flat_map(|interface| interface.addresses.iter().copied());
    let addresses: Vec<Ipv4Addr> = if given.is_empty() { of_interfaces.collect() } else { given.to_vec() };
    addresses.into_iter().map(|address| SocketAddrV4::new(address, port)).collect()
}

/// What is open at which address.
pub type Doors<L> = Vec<(SocketAddrV4, L)>;

/// Where the doors are, for people.
pub fn places<L>(doors: &Doors<L>) -> String {
    let places = listed(doors.iter().map(|(address, _)| *address));
    if places.is_empty() { "no address".to_owned() } else { places }
}

/// Closes the doors at addresses that are not `wanted`, opens those that are missing, and says whether anything changed
/// and what could not be opened.
pub fn rearrange<L>(
    doors: &mut Doors<L>,
    wanted: &[SocketAddrV4],
    open: impl Fn(SocketAddrV4) -> Result<L, StartError>,
) -> (bool, Vec<StartError>) {
    let before = doors.len();
    doors.retain(|(address, _)| wanted.contains(address));
    let mut changed = doors.len() < before;
    let mut refused = Vec::new();
    for address in wanted {
        if doors.iter().any(|(open, _)| open == address) {
            continue;
        }
        match open(*address) {
            Ok(door) => {
                doors.push((*address, door));
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
    fn f_07_doors_follow_the_addresses_and_one_that_cannot_be_opened_stops_no_other() {
        let at = |last| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 69);
        let mut doors: Doors<&str> = vec![(at(1), "first"), (at(2), "second")];
        let open = |address: SocketAddrV4| match address.ip().octets()[3] {
            3 => Err(StartError("taken".to_owned())),
            _ => Ok("new"),
        };
        let (changed, refused) = rearrange(&mut doors, &[at(2), at(3), at(4)], open);
        assert!(changed && refused.len() == 1, "{refused:?}");
        assert_eq!(doors, [(at(2), "second"), (at(4), "new")]);
        let (changed, refused) = rearrange(&mut doors, &[at(4), at(2), at(3)], open);
        assert!(!changed && refused.len() == 1, "it is tried again");
    }
}
