//! The client that requests a file. TFTP and HTTP build it once for each request.

use std::net::IpAddr;
use std::sync::Arc;

use crate::content::machines::{KnownMachine, Standing};
use crate::content::once::BootState;
use crate::types::MachineId;

/// A client that requests a file, the facts about its machine, and the settings at the start of its request. A reload
/// does not change the settings of a request that has begun.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The client's address.
    pub address: IpAddr,
    /// The server address that received the request.
    pub server: IpAddr,
    /// The facts known about the machine.
    pub machine: KnownMachine,
    /// How certain it is that this machine has the address.
    pub standing: Standing,
    /// The targets of the machines and their `once` state.
    pub boot_state: BootState,
}

impl Requester {
    /// The machine, for records; `None` if it is not known, or if several machines may have the address.
    pub fn machine_id(&self) -> Option<MachineId> {
        let machine = &self.machine;
        let entry = self.boot_state.machine(machine);
        let name = entry.map(|entry| entry.name.as_str()).or(machine.name.as_deref());
        let id = MachineId { mac: machine.mac, uuid: machine.uuid, client: None, name: name.map(Arc::from) };
        id.if_known()
    }
}
