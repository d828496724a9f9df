//! The loop guard: machines that are given the same boot file again and again.
//!
//! Three things loop. A firmware whose loader does not come or does not start goes through its boot devices and asks
//! again. An iPXE that does not say that it is one (no option 77 or 175: its own build, or a relay agent that takes
//! options out) is taken for firmware, gets the loader that it is, and loads itself (ipxe/ipxe#908, netboot.xyz#495).
//! And an iPXE that says so gets a loader whose content is not known, because it is on another server, and that loader is
//! the same iPXE. All are noticed by counting; an iPXE then gets its script.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::boot::identity::{Identity, may_be_ipxe};
use crate::boot::policy::{Choice, Policy};
use crate::types::{MacAddr, Rule, Stage, Timestamp};
use crate::wire::dhcp::Message;

/// How often a machine may be given one boot file within [`LOOP_TIME`] before that is a loop. Twice is a person who
/// presses reset.
pub const LOOP_COUNT: usize = 3;
/// The time within which these are counted. A round takes 10 s (iPXE that loads itself) to 60 s (a firmware that tries
/// its other boot devices in between).
pub const LOOP_TIME: Duration = Duration::from_secs(300);
/// How long after it was told of a loop of one machine nobody is told of it again.
pub const QUIET_TIME: Duration = Duration::from_secs(600);
/// A second REQUEST of one transaction within this is the first sent again, because our answer was lost: the longest
/// that firmware waits (EDK2: 4, 8, 16 and 32 s).
pub const RESEND_TIME: Duration = Duration::from_secs(40);
/// Machines remembered at most: half of them in each generation.
pub const MAX_MACHINES: usize = 16384;
/// Boot files remembered for each machine: its loader, its script, and two more.
pub const MAX_FILES: usize = 4;

/// What is remembered of machines that boot. Bounded: of two generations, the older is forgotten when the newer is full
/// or [`LOOP_TIME`] old.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    young: HashMap<MacAddr, Machine>,
    old: HashMap<MacAddr, Machine>,
    since: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Machine {
    given: Vec<Given>,
    /// When its loop was last reported.
    told: Option<Timestamp>,
    /// When its firmware last got a boot file: an iPXE that asks after that was loaded, and is not in the machine's ROM.
    firmware: Option<Timestamp>,
    /// When an iPXE on it last got one. What asks as firmware after that was loaded by it, as Windows's `wdsnbp.com` is.
    ipxe: Option<Timestamp>,
}

/// A boot file, and when the machine was given it last: at most [`LOOP_COUNT`] times, within [`LOOP_TIME`].
#[derive(Clone, Debug)]
struct Given {
    file: Arc<str>,
    times: Vec<Timestamp>,
    /// The transaction of the last time.
    xid: u32,
}

/// A machine that goes round in circles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The boot file that it was given.
    pub file: Arc<str>,
    /// How often.
    pub times: usize,
    /// From the first of these to the last.
    pub within: Duration,
    /// Whether it is an iPXE, or looks like one that does not say so, and gets the script from now on.
    pub gets_script: bool,
}

impl Guard {
    /// The choice for the client that sent `message` in place of `choice`: iPXE's script, if its machine goes round in
    /// circles with that file and it is or may be an iPXE. `None`: `choice` stands.
    pub fn overrule(
        &self,
        message: &Message,
        identity: &Identity,
        choice: &Choice,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Choice> {
        let mac = message.mac()?;
        let machine = self.young.get(&mac).or_else(|| self.old.get(&mac))?;
        if !machine.loops(&choice.file, now) {
            return None;
        }
        let script = machine.script(message, identity, choice, policy, now)?;
        Some(Choice { rule: Rule::LoopGuard, ..script })
    }

    /// Counts that the client that sent `message` was given `choice` at `now`, by an ACK or by BOOTP's answer. Says so
    /// when that makes a loop, unless it did lately.
    pub fn given(
        &mut self,
        message: &Message,
        identity: &Identity,
        choice: &Choice,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Loop> {
        let mac = message.mac()?;
        self.renew(now);
        let known = self.young.remove(&mac).or_else(|| self.old.remove(&mac)).unwrap_or_default();
        let machine = self.young.entry(mac).or_insert(known);
        machine.note_stage(message, identity, now);
        let (times, first) = machine.note(&choice.file, message.xid, now);
        let is_told = machine.told.is_some_and(|told| now.since(told) < QUIET_TIME);
        if times < LOOP_COUNT || is_told {
            return None;
        }
        machine.told = Some(now);
        let gets_script = machine.script(message, identity, choice, policy, now).is_some();
        Some(Loop { file: Arc::clone(&choice.file), times, within: now.since(first), gets_script })
    }

    /// Forgets what the machine with this hardware address was given: its system runs.
    pub fn went_on(&mut self, mac: MacAddr) {
        self.young.remove(&mac);
        self.old.remove(&mac);
    }

    /// How many machines are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn renew(&mut self, now: Timestamp) {
        if self.young.len() >= MAX_MACHINES / 2 || now.since(self.since) >= LOOP_TIME {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
    }
}

impl Machine {
    /// The script for a client that goes round in circles with `choice`, if a script ends that: it may be an iPXE that was
    /// not taken for one, or it is an iPXE and `choice` is a loader that may lead back to an iPXE. Any loader may whose
    /// content is not known. One whose content is known may where the machine's firmware got a boot file shortly before:
    /// then that loader has loaded this iPXE. An iPXE in ROM keeps a known loader however often it is restarted.
    fn script(
        &self,
        message: &Message,
        identity: &Identity,
        choice: &Choice,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Choice> {
        match identity.stage {
            Stage::Pxe if choice.rule != Rule::LoopGuard && may_be_ipxe(message) => Some(policy.script()),
            Stage::Ipxe if choice.otherwise.is_some() => {
                (!choice.is_known || is_recent(self.firmware, now)).then(|| choice.last().clone())
            }
            _ => None,
        }
    }

    /// Remembers whether firmware or iPXE asks. An iPXE that does not say so is neither.
    fn note_stage(&mut self, message: &Message, identity: &Identity, now: Timestamp) {
        if identity.stage == Stage::Ipxe {
            self.ipxe = Some(now);
        } else if !may_be_ipxe(message) && (is_recent(self.firmware, now) || !is_recent(self.ipxe, now)) {
            self.firmware = Some(now);
        }
    }

    fn loops(&self, file: &str, now: Timestamp) -> bool {
        let given = self.given.iter().find(|given| *given.file == *file);
        let lately = |time: &&Timestamp| now.since(**time) < LOOP_TIME;
        given.is_some_and(|given| given.times.iter().filter(lately).count() >= LOOP_COUNT)
    }

    /// How often it was now given `file`, and when first.
    fn note(&mut self, file: &Arc<str>, xid: u32, now: Timestamp) -> (usize, Timestamp) {
        let place = self.given.iter().position(|given| given.file == *file);
        let mut given = match place {
            Some(place) => self.given.remove(place),
            None => Given { file: Arc::clone(file), times: Vec::new(), xid },
        };
        let last = given.times.last().filter(|_| given.xid == xid);
        if last.is_none_or(|last| now.since(*last) >= RESEND_TIME) {
            given.times.retain(|time| now.since(*time) < LOOP_TIME);
            if given.times.len() == LOOP_COUNT {
                given.times.remove(0);
            }
            given.times.push(now);
            given.xid = xid;
        }
        let counted = (given.times.len(), given.times.first().copied().unwrap_or(now));
        if self.given.len() == MAX_FILES {
            self.given.remove(0);
        }
        self.given.push(given);
        counted
    }
}

fn is_recent(time: Option<Timestamp>, now: Timestamp) -> bool {
    time.is_some_and(|time| now.since(time) < LOOP_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Arch;
    use crate::wire::dhcp::BOOTREQUEST;

    const LATER: Duration = Duration::from_secs(15);

    /// A REQUEST of firmware, in its own transaction.
    fn request(n: u8, xid: u32, options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::new(BOOTREQUEST);
        message.xid = xid;
        message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, n]);
        for (code, value) in
            [(53, &[3][..]), (60, b"PXEClient:Arch:00007"), (93, &[0, 7])].iter().chain(options)
        {
            message.options.push(*code, value);
        }
        message
    }

    fn policy() -> Policy {
        Policy { ipxe: Some("boot.ipxe".into()), ..Policy::default() }
    }

    /// Time, and a guard that watches one policy.
    struct Watch {
        guard: Guard,
        now: Timestamp,
    }

    impl Watch {
        fn new() -> Watch {
            Watch { guard: Guard::default(), now: Timestamp::from_seconds(3600) }
        }

        /// Gives `file` to the machine that sent `message`, and lets 15 s pass.
        fn give(&mut self, message: &Message, file: &str) -> Option<Loop> {
            let choice = Choice::new(&file.into(), Rule::Arch(Arch::UEFI_X64));
            let found = self.guard.given(message, &Identity::of(message), &choice, &policy(), self.now);
            self.now = self.now.after(LATER);
            found
        }

        fn overruled(&self, message: &Message) -> Option<String> {
            let loader = Choice::new(&"snponly.efi".into(), Rule::Arch(Arch::UEFI_X64));
            let choice = self.guard.overrule(message, &Identity::of(message), &loader, &policy(), self.now);
            choice.map(|choice| format!("{} by {}", choice.file, choice.rule))
        }
    }

    #[test]
    fn the_third_time_is_a_loop_and_is_said_once() {
        let mut watch = Watch::new();
        for xid in 1..3 {
            assert_eq!(watch.give(&request(1, xid, &[]), "snponly.efi"), None);
        }
        let found = watch.give(&request(1, 3, &[]), "snponly.efi").unwrap();
        assert_eq!((&*found.file, found.times, found.within), ("snponly.efi", 3, 2 * LATER));
        assert!(!found.gets_script, "firmware that retries");
        let mut said = 0;
        for xid in 4..4 + 60 {
            said += usize::from(watch.give(&request(1, xid, &[]), "snponly.efi").is_some());
        }
        assert_eq!(said, 1, "once in {QUIET_TIME:?} of 900 s");
        assert_eq!(watch.overruled(&request(1, 99, &[])), None, "no script for what is no iPXE");
    }

    #[test]
    fn what_comes_slowly_or_twice_is_no_loop() {
        let mut watch = Watch::new();
        for xid in 0..20 {
            assert_eq!(watch.give(&request(1, xid, &[]), "snponly.efi"), None);
            watch.now = watch.now.after(LOOP_TIME / 2);
        }
        let mut watch = Watch::new();
        for _ in 0..5 {
            assert_eq!(watch.give(&request(1, 7, &[]), "snponly.efi"), None, "a REQUEST that is sent again");
            watch.now = Timestamp(watch.now.0 - 10_000);
        }
        let mut watch = Watch::new();
        for (xid, file) in ["a", "b", "c", "a", "b", "c", "d", "e"].into_iter().enumerate() {
            assert_eq!(watch.give(&request(1, xid as u32, &[]), file), None);
        }
    }

    #[test]
    fn a_system_that_starts_ends_the_count() {
        let mut watch = Watch::new();
        for xid in 0..20 {
            assert_eq!(watch.give(&request(1, xid, &[]), "snponly.efi"), None);
            if xid % 2 == 1 {
                watch.guard.went_on(MacAddr([2, 0, 0, 0, 0, 1]));
            }
        }
    }

    #[test]
    fn an_ipxe_that_hides_gets_the_script_once_it_loops() {
        let hidden: &[(u8, &[u8])] = &[(55, &[1, 3, 175, 203])];
        let mut watch = Watch::new();
        for xid in 1..3 {
            watch.give(&request(1, xid, hidden), "snponly.efi");
            assert_eq!(watch.overruled(&request(1, xid, hidden)), None);
        }
        assert!(watch.give(&request(1, 3, hidden), "snponly.efi").unwrap().gets_script);
        assert_eq!(watch.overruled(&request(1, 4, hidden)).as_deref(), Some("boot.ipxe by loop guard"));
        assert_eq!(watch.overruled(&request(1, 4, &[])), None, "the firmware below it keeps its loader");
        assert_eq!(watch.overruled(&request(2, 4, hidden)), None, "and so do others");
        let left_out = Policy { has_targets: true, ..Policy::default() };
        let message = request(1, 5, hidden);
        let loader = Choice::new(&"snponly.efi".into(), Rule::Arch(Arch::UEFI_X64));
        let made = watch.guard.overrule(&message, &Identity::of(&message), &loader, &left_out, watch.now);
        assert_eq!(made.map(|choice| choice.file.to_string()).as_deref(), Some("lanboot/boot.ipxe"));
        watch.now = watch.now.after(LOOP_TIME);
        assert_eq!(watch.overruled(&request(1, 6, hidden)), None, "after a while it is tried anew");
    }

    /// A loader for an iPXE, whose content is known or not.
    fn loader(is_known: bool) -> Choice {
        let script = Choice::new(&"boot.ipxe".into(), Rule::Ipxe);
        Choice {
            otherwise: Some(Box::new(script)),
            is_known,
            ..Choice::new(&"loader".into(), Rule::Arch(Arch::BIOS))
        }
    }

    #[test]
    fn r_02_an_ipxe_that_loads_what_nobody_knows_again_and_again_gets_the_script() {
        let ipxe: &[(u8, &[u8])] = &[(77, b"iPXE")];
        let rounds = |is_known: bool, firmware: bool| {
            let mut watch = Watch::new();
            if firmware {
                watch.give(&request(1, 99, &[]), "loader");
            }
            let mut files = Vec::new();
            for xid in 1..8 {
                let (message, choice) = (request(1, xid, ipxe), loader(is_known));
                let identity = Identity::of(&message);
                let instead = watch.guard.overrule(&message, &identity, &choice, &policy(), watch.now);
                let choice = instead.unwrap_or(choice);
                let found = watch.guard.given(&message, &identity, &choice, &policy(), watch.now);
                let gets_script = found.is_some_and(|found| found.gets_script);
                files.push(if gets_script { format!("{}!", choice.file) } else { choice.file.to_string() });
                watch.now = watch.now.after(LATER);
            }
            files.join(" ")
        };
        let script = "boot.ipxe boot.ipxe boot.ipxe boot.ipxe";
        assert_eq!(rounds(false, false), format!("loader loader loader! {script}"));
        assert_eq!(rounds(false, true), format!("loader loader! boot.ipxe {script}"));
        // An iPXE in ROM may be restarted as often as anybody likes.
        assert_eq!(rounds(true, false), "loader loader loader loader loader loader loader");
        // Nor does what that loader loads count as firmware, as wdsnbp.com asks port 4011.
        let mut watch = Watch::new();
        for xid in 0..20 {
            let (message, choice) = (request(1, xid, if xid % 2 == 0 { ipxe } else { &[] }), loader(true));
            let identity = Identity::of(&message);
            assert_eq!(watch.guard.overrule(&message, &identity, &choice, &policy(), watch.now), None);
            watch.guard.given(&message, &identity, &choice, &policy(), watch.now);
            watch.now = watch.now.after(LATER);
        }
        // A loader that leads to another iPXE, as PXELINUX can.
        assert_eq!(rounds(true, true), format!("loader loader! boot.ipxe {script}"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guard = Guard::default();
        let policy = policy();
        for n in 0..(3 * MAX_MACHINES as u32) {
            let mut message = request(1, n, &[]);
            message.chaddr[2..6].copy_from_slice(&n.to_be_bytes());
            let choice = Choice::new(&format!("{n}").as_str().into(), Rule::Ipxe);
            guard.given(&message, &Identity::of(&message), &choice, &policy, Timestamp(u64::from(n)));
            assert!(guard.len() <= MAX_MACHINES);
        }
        assert!(guard.len() > MAX_MACHINES / 2);
        let mut watch = Watch::new();
        for n in 0..100 {
            watch.give(&request(1, n, &[]), &format!("file{n}"));
            watch.now = Timestamp(watch.now.0 - LATER.as_millis() as u64);
        }
        assert_eq!(watch.guard.young[&MacAddr([2, 0, 0, 0, 0, 1])].given.len(), MAX_FILES);
        watch.now = watch.now.after(LOOP_TIME);
        watch.give(&request(2, 1, &[]), "x");
        watch.now = watch.now.after(LOOP_TIME);
        watch.give(&request(2, 2, &[]), "x");
        assert_eq!(watch.guard.len(), 1, "the first is forgotten");
    }
}
