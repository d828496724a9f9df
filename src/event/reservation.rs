//! The reason why a client does not get its reserved address.

use crate::types::{ClientId, Ipv4Network, MacAddr};

/// The reason why a client does not get its reserved address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotKept {
    /// Another client has a lease of the address.
    Leased {
        /// The hardware address of that client, if it is an Ethernet address.
        holder: Option<MacAddr>,
        client: ClientId,
    },
    /// Another machine was found at the address.
    InUse,
    /// The address is in another subnet of the interface, which does not share the wire of the client's subnet.
    OtherSubnet {
        /// The subnet of the address.
        subnet: Ipv4Network,
        /// The subnet of the client.
        of_client: Ipv4Network,
    },
    /// The subnet of the address is for classes that the machine is not in.
    Class {
        /// The subnet of the address.
        subnet: Ipv4Network,
    },
}
