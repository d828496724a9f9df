//! Decides which machine has an address, from DHCP messages and the kernel's neighbour table. `machines` calls it for
//! each lookup.

use std::time::Instant;

use super::machine::KnownMachine;
use crate::net::neighbours::Neighbour;
use crate::types::MacAddr;

/// Maximum number of candidates for one address. There is more than one only while an address changes hands, or when
/// messages are forged.
const MAX_CANDIDATES: usize = 4;

/// The evidence that a machine has an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Our lease book assigned it.
    Lease,
    /// Beside another DHCP server: an overheard message, or one to the boot service. Any host can forge it.
    Overheard,
    /// Where lanboot assigns the addresses: an INFORM, or a message to the boot service. It only adds facts to a
    /// machine that the neighbour table confirms.
    Hint,
}

/// A machine that may have an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The hardware address, if it is an Ethernet address.
    pub mac: Option<MacAddr>,
    pub evidence: Evidence,
    /// When the evidence expires; `None` for an infinite lease.
    pub ends: Option<Instant>,
    /// The machine's own statements. `None` for a system that never booted from the network and states no host name: its
    /// MAC is enough.
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

    /// Merges a later message of the same machine. Without a MAC nothing shows that it is the same machine.
    pub(super) fn update(&mut self, later: Candidate) {
        self.ends = later.ends;
        if later.evidence != Evidence::Hint {
            self.evidence = later.evidence;
        }
        let Some(more) = later.facts else { return };
        self.facts = Some(match self.facts.take() {
            Some(facts) if self.mac.is_some() => Box::new(facts.and(*more)),
            _ => more,
        });
    }
}

/// Adds `candidate`, or updates the candidate with the same MAC. The most recent candidate is last in the list.
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

/// How certain it is that an address belongs to a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// No evidence: any machine may have the address.
    #[default]
    Unknown,
    /// The neighbour table has the MAC, and there is no DHCP message.
    Neighbour,
    /// A message beside another DHCP server claims it, and nothing confirms or contradicts it.
    Claimed,
    /// The lease book or an overheard message says so, and the neighbour table agrees if it knows the address.
    Certain,
    /// DHCP and the neighbour table disagree, or DHCP named several machines: it may be any of them.
    Contested,
}

/// The machine at an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The facts about the machine; empty if the address is contested.
    pub machine: KnownMachine,
    pub standing: Standing,
}

/// Two machines that may have one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contest {
    /// The machine that DHCP named last.
    pub by_dhcp: Option<MacAddr>,
    /// The other machine: from the neighbour table, or the one that DHCP named before.
    pub other: Option<MacAddr>,
    /// Whether `other` comes from the neighbour table.
    pub on_wire: bool,
}

/// The candidates for an address that messages claimed, without a lease in our book.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'c> {
    pub candidates: &'c [Candidate],
    /// False if claims may have been evicted.
    pub are_complete: bool,
}

/// Decides which of the candidates has an address. `leases` come from the lease book, and `claims` from other messages.
///
/// The lease book precedes all claims. On our own wires the neighbour table chooses among the candidates, and
/// contradicts them if it has another MAC. Without a MAC in that table, there must be exactly one candidate.
pub fn identify(
    leases: &[Candidate],
    claims: Claims<'_>,
    neighbour: &Neighbour,
    now: Instant,
) -> Result<Found, Contest> {
    let mut candidates: Vec<&Candidate> = leases.iter().filter(|known| known.is_live(now)).collect();
    if candidates.is_empty() {
        candidates = claims.candidates.iter().filter(|known| known.is_live(now)).collect();
    }
    if let Neighbour::At(macs) = neighbour {
        let is_there = |known: &&&Candidate| known.mac.is_some_and(|mac| macs.contains(&mac));
        if let Some(known) = candidates.iter().rev().find(is_there) {
            return Ok(Found { machine: known.machine(), standing: Standing::Certain });
        }
    }
    candidates.retain(|known| known.evidence != Evidence::Hint);
    match (candidates.as_slice(), neighbour) {
        ([], Neighbour::At(macs)) => {
            let machine = KnownMachine { mac: macs.first().copied(), ..KnownMachine::default() };
            Ok(Found { machine, standing: Standing::Neighbour })
        }
        ([], _) => Ok(Found::default()),
        ([.., known], Neighbour::At(macs)) => {
            Err(Contest { by_dhcp: known.mac, other: macs.first().copied(), on_wire: true })
        }
        ([known], _) if known.evidence == Evidence::Overheard && !claims.are_complete => Ok(Found::default()),
        ([known], _) => {
            let is_lease = known.evidence == Evidence::Lease;
            let standing = if is_lease { Standing::Certain } else { Standing::Claimed };
            Ok(Found { machine: known.machine(), standing })
        }
        ([.., before, known], _) => Err(Contest { by_dhcp: known.mac, other: before.mac, on_wire: false }),
    }
}
