//! Decides which machine an address belongs to, from what DHCP said of it and from the kernel's neighbour table.

use std::time::Instant;

use super::machine::KnownMachine;
use crate::net::neighbours::Neighbour;
use crate::types::MacAddr;

/// Machines remembered for one address. More than one is there only while an address changes hands, or when messages
/// are forged.
const MAX_CANDIDATES: usize = 4;

/// How a machine came to be a candidate for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Our lease book gave it the address.
    Lease,
    /// Beside another DHCP server: a message on the wire or at the boot service said so. Anybody can send that.
    Heard,
    /// Where lanboot gives the addresses: an INFORM or the boot service said so. It adds to what the neighbour table
    /// says, and counts for nothing without it.
    Hint,
}

/// A machine that may have an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its hardware address, if it is Ethernet's.
    pub mac: Option<MacAddr>,
    /// Why it may have the address.
    pub word: Word,
    /// When it may not have it any more; `None` for a lease that never ends.
    pub ends: Option<Instant>,
    /// What it said of itself; `None` for a system that never booted from the network, of which the MAC is enough.
    pub facts: Option<Box<KnownMachine>>,
}

impl Candidate {
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }

    fn machine(&self) -> KnownMachine {
        match &self.facts {
            Some(facts) => (**facts).clone(),
            None => KnownMachine { mac: self.mac, ..KnownMachine::default() },
        }
    }

    /// Takes in a later message of the same machine. Without a MAC nothing says that it is the same one.
    pub(super) fn update(&mut self, later: Candidate) {
        self.ends = later.ends;
        if later.word != Word::Hint {
            self.word = later.word;
        }
        let Some(more) = later.facts else { return };
        self.facts = Some(match self.facts.take() {
            Some(facts) if self.mac.is_some() => Box::new(facts.and(*more)),
            _ => more,
        });
    }
}

/// Adds `candidate`, or updates the one with its MAC. The last one that was heard of is the last one in the list.
pub(super) fn put(candidates: &mut Vec<Candidate>, candidate: Candidate, now: Instant) {
    if let Some(place) = candidates.iter().position(|known| known.mac == candidate.mac) {
        if candidates.len() == 1 && candidates[place].is_live(now) {
            return candidates[place].update(candidate);
        }
        let mut known = candidates.remove(place);
        if known.is_live(now) {
            known.update(candidate);
        } else {
            known = candidate;
        }
        candidates.push(known);
        return;
    }
    candidates.retain(|known| known.is_live(now));
    if candidates.len() >= MAX_CANDIDATES {
        candidates.remove(0);
    }
    candidates.push(candidate);
}

/// How sure it is that an address belongs to a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Nothing is known of the address: any machine may be there.
    #[default]
    Unknown,
    /// The neighbour table has its MAC, and DHCP said nothing.
    Neighbour,
    /// It was heard beside another DHCP server, and nothing confirms or contradicts it.
    Claimed,
    /// The lease book or what was heard says so, and the neighbour table agrees where it knows the address.
    Certain,
    /// DHCP and the neighbour table name different machines, or DHCP named several: it may be any of them.
    Contested,
}

/// The machine at an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// What is known of it: nothing, if that is contested.
    pub machine: KnownMachine,
    /// How sure that is.
    pub standing: Standing,
}

/// Two machines that may have one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contest {
    /// The one that DHCP named last.
    pub by_dhcp: Option<MacAddr>,
    /// The other one: that of the neighbour table, or the one that DHCP named before.
    pub other: Option<MacAddr>,
    /// Whether the other is that of the neighbour table.
    pub on_wire: bool,
}

/// The machine at an address of which the lease book gave the candidates `leases`, and other messages `claims`; whether
/// these are all that were heard, or some may have been forgotten.
///
/// The lease book goes before all claims. On our own wires the neighbour table chooses among the candidates, and
/// contradicts them if it has another MAC. Where it has none there must be exactly one candidate.
pub fn identify(
    leases: &[Candidate],
    (claims, are_all): (&[Candidate], bool),
    neighbour: &Neighbour,
    now: Instant,
) -> Result<Found, Contest> {
    let mut said: Vec<&Candidate> = leases.iter().filter(|known| known.is_live(now)).collect();
    if said.is_empty() {
        said = claims.iter().filter(|known| known.is_live(now)).collect();
    }
    if let Neighbour::At(macs) = neighbour {
        let is_there = |known: &&&Candidate| known.mac.is_some_and(|mac| macs.contains(&mac));
        if let Some(known) = said.iter().rev().find(is_there) {
            return Ok(Found { machine: known.machine(), standing: Standing::Certain });
        }
    }
    said.retain(|known| known.word != Word::Hint);
    match (said.as_slice(), neighbour) {
        ([], Neighbour::At(macs)) => {
            let machine = KnownMachine { mac: macs.first().copied(), ..KnownMachine::default() };
            Ok(Found { machine, standing: Standing::Neighbour })
        }
        ([], _) => Ok(Found::default()),
        ([.., known], Neighbour::At(macs)) => {
            Err(Contest { by_dhcp: known.mac, other: macs.first().copied(), on_wire: true })
        }
        ([known], _) if known.word == Word::Heard && !are_all => Ok(Found::default()),
        ([known], _) => {
            let is_lease = known.word == Word::Lease;
            let standing = if is_lease { Standing::Certain } else { Standing::Claimed };
            Ok(Found { machine: known.machine(), standing })
        }
        ([.., before, known], _) => Err(Contest { by_dhcp: known.mac, other: before.mac, on_wire: false }),
    }
}
