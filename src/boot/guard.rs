//! The loop guard: finds machines that load the same boot file again and again, and ends the loop with iPXE's script.
//!
//! Three kinds of machines loop:
//!
//! - Firmware whose loader does not arrive or does not start: it tries its other boot devices and then asks again.
//! - An iPXE that does not identify itself (no option 77 or 175: its own build, or a relay agent that removes options).
//!   It is taken for firmware, gets the loader that it is itself, and loads itself (ipxe/ipxe#908, netboot.xyz#495).
//! - An iPXE that identifies itself and gets a loader of unknown content, because it is on another server, and that
//!   loader is the same iPXE.
//!
//! The guard counts boot files per machine to find all three. Only an iPXE gets the script. `dhcp/loop_guard.rs` calls
//! the guard for each reply with a boot file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::boot::identity::{Identity, may_be_ipxe};
use crate::boot::policy::{Choice, Policy};
use crate::types::{MacAddr, Rule, Stage, Timestamp};
use crate::wire::dhcp::Message;

/// The number of times that a machine may get one boot file within [`LOOP_TIME`] before this is a loop. A machine
/// that a person resets gets it twice.
pub const LOOP_COUNT: usize = 3;
/// The time window for counting. One round takes 10 s (iPXE that loads itself) to 60 s (firmware that tries its other
/// boot devices in between).
pub const LOOP_TIME: Duration = Duration::from_secs(300);
/// Minimum time between two reports about the same machine.
pub const QUIET_TIME: Duration = Duration::from_secs(600);
/// A second REQUEST of the same transaction within this time is a retransmission, because our answer was lost. This is
/// longer than the longest retry interval of firmware (EDK2: 4, 8, 16 and 32 s).
pub const RESEND_TIME: Duration = Duration::from_secs(40);
/// The maximum number of machines remembered, half of them in each generation.
pub const MAX_MACHINES: usize = 16384;
/// The number of boot files remembered per machine: its loader, its script, and two more.
pub const MAX_FILES: usize = 4;

/// The boot files that machines got recently. Two generations bound the memory: the older one is dropped when the newer
/// one is full or [`LOOP_TIME`] old.
#[derive(Clone, Debug, Default)]
pub struct LoopGuard {
    newer: HashMap<MacAddr, Machine>,
    older: HashMap<MacAddr, Machine>,
    since: Timestamp,
}

#[derive(Clone, Debug, Default)]
struct Machine {
    files: Vec<GivenFile>,
    /// The time of the last report about this machine.
    reported: Option<Timestamp>,
    /// The time at which firmware of this machine last got a boot file. An iPXE that asks soon after was loaded, and is
    /// not in ROM.
    firmware: Option<Timestamp>,
    /// The time at which an iPXE of this machine last got a boot file. Firmware that asks soon after was loaded by that
    /// iPXE, such as Windows's `wdsnbp.com`.
    ipxe: Option<Timestamp>,
}

/// A boot file, and the times at which the machine got it: at most [`LOOP_COUNT`], within [`LOOP_TIME`].
#[derive(Clone, Debug)]
struct GivenFile {
    file: Arc<str>,
    times: Vec<Timestamp>,
    /// The transaction of the last of `times`.
    xid: u32,
}

/// A machine that loops with one boot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootLoop {
    pub file: Arc<str>,
    /// The number of times that the machine got the file.
    pub times: usize,
    /// The time from the first of these to the last.
    pub within: Duration,
    /// Whether the machine runs an iPXE, or seems to run one that does not identify itself, and gets the script from
    /// now on.
    pub gets_script: bool,
}

impl LoopGuard {
    /// Returns iPXE's script if the client loops with `choice` and is, or may be, an iPXE. Returns `None` if `choice`
    /// stands.
    pub fn script_instead(
        &self,
        message: &Message,
        identity: &Identity,
        choice: &Choice,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Choice> {
        let mac = message.mac()?;
        let machine = self.newer.get(&mac).or_else(|| self.older.get(&mac))?;
        if !machine.is_looping_with(&choice.file, now) {
            return None;
        }
        let script = machine.script(message, identity, choice, policy, now)?;
        Some(Choice { rule: Rule::LoopGuard, ..script })
    }

    /// Counts that the client got `choice` at `now`, in an ACK or a BOOTP reply. Returns the loop if this makes one and
    /// it was not reported within [`QUIET_TIME`].
    pub fn record_boot_file(
        &mut self,
        message: &Message,
        identity: &Identity,
        choice: &Choice,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<BootLoop> {
        let mac = message.mac()?;
        self.rotate_generations(now);
        let known = self.newer.remove(&mac).or_else(|| self.older.remove(&mac)).unwrap_or_default();
        let machine = self.newer.entry(mac).or_insert(known);
        machine.record_stage(message, identity, now);
        let (times, first) = machine.record_file(&choice.file, message.xid, now);
        let was_reported = machine.reported.is_some_and(|reported| now.since(reported) < QUIET_TIME);
        if times < LOOP_COUNT || was_reported {
            return None;
        }
        machine.reported = Some(now);
        let gets_script = machine.script(message, identity, choice, policy, now).is_some();
        Some(BootLoop { file: Arc::clone(&choice.file), times, within: now.since(first), gets_script })
    }

    /// Forgets the machine, because its operating system is running.
    pub fn forget(&mut self, mac: MacAddr) {
        self.newer.remove(&mac);
        self.older.remove(&mac);
    }

    /// Returns the number of machines remembered.
    pub fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn rotate_generations(&mut self, now: Timestamp) {
        if self.newer.len() >= MAX_MACHINES / 2 || now.since(self.since) >= LOOP_TIME {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
    }
}

impl Machine {
    /// Returns the script for a client that loops with `choice`, if the script ends the loop. It does in two cases:
    ///
    /// - The client may be an iPXE that was not recognized.
    /// - The client is an iPXE, and `choice` is a loader that may lead back to iPXE. A loader of unknown content may. A
    ///   known one may if the machine's firmware got a boot file shortly before, because then that loader has loaded this
    ///   iPXE.
    ///
    /// An iPXE in ROM keeps a known loader, however often the machine is restarted.
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
            Stage::Ipxe if choice.fallback.is_some() => {
                (!choice.is_known || is_recent(self.firmware, now)).then(|| choice.last().clone())
            }
            _ => None,
        }
    }

    /// Records whether firmware or iPXE asks. An iPXE that does not identify itself counts as neither.
    fn record_stage(&mut self, message: &Message, identity: &Identity, now: Timestamp) {
        if identity.stage == Stage::Ipxe {
            self.ipxe = Some(now);
        } else if !may_be_ipxe(message) && (is_recent(self.firmware, now) || !is_recent(self.ipxe, now)) {
            self.firmware = Some(now);
        }
    }

    fn is_looping_with(&self, file: &str, now: Timestamp) -> bool {
        let given = self.files.iter().find(|given| *given.file == *file);
        let is_in_window = |time: &&Timestamp| now.since(**time) < LOOP_TIME;
        given.is_some_and(|given| given.times.iter().filter(is_in_window).count() >= LOOP_COUNT)
    }

    /// Records that the machine got `file`. Returns the number of times within [`LOOP_TIME`], and the first of them.
    fn record_file(&mut self, file: &Arc<str>, xid: u32, now: Timestamp) -> (usize, Timestamp) {
        let position = self.files.iter().position(|given| given.file == *file);
        let mut given = match position {
            Some(position) => self.files.remove(position),
            None => GivenFile { file: Arc::clone(file), times: Vec::new(), xid },
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
        if self.files.len() == MAX_FILES {
            self.files.remove(0);
        }
        self.files.push(given);
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

    /// A guard with one policy, and the time.
    struct Watch {
        guard: LoopGuard,
        now: Timestamp,
    }

    impl Watch {
        fn new() -> Watch {
            Watch { guard: LoopGuard::default(), now: Timestamp::from_seconds(3600) }
        }

        /// Gives `file` to the sender of `message`, then advances the time by 15 s.
        fn give(&mut self, message: &Message, file: &str) -> Option<BootLoop> {
            let choice = Choice::new(&file.into(), Rule::Arch(Arch::UEFI_X64));
            let found =
                self.guard.record_boot_file(message, &Identity::of(message), &choice, &policy(), self.now);
            self.now = self.now.after(LATER);
            found
        }

        fn overruled(&self, message: &Message) -> Option<String> {
            let loader = Choice::new(&"snponly.efi".into(), Rule::Arch(Arch::UEFI_X64));
            let choice =
                self.guard.script_instead(message, &Identity::of(message), &loader, &policy(), self.now);
            choice.map(|choice| format!("{} by {}", choice.file, choice.rule))
        }
    }

    #[test]
    fn the_third_time_is_a_loop_reported_once() {
        let mut watch = Watch::new();
        for xid in 1..3 {
            assert_eq!(watch.give(&request(1, xid, &[]), "snponly.efi"), None);
        }
        let found = watch.give(&request(1, 3, &[]), "snponly.efi").unwrap();
        assert_eq!((&*found.file, found.times, found.within), ("snponly.efi", 3, 2 * LATER));
        assert!(!found.gets_script, "firmware that retries");
        let mut reports = 0;
        for xid in 4..4 + 60 {
            reports += usize::from(watch.give(&request(1, xid, &[]), "snponly.efi").is_some());
        }
        assert_eq!(reports, 1, "once in {QUIET_TIME:?} of 900 s");
        assert_eq!(watch.overruled(&request(1, 99, &[])), None, "no script for what is no iPXE");
    }

    #[test]
    fn slow_rounds_and_retransmissions_are_no_loop() {
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
    fn a_running_system_resets_the_count() {
        let mut watch = Watch::new();
        for xid in 0..20 {
            assert_eq!(watch.give(&request(1, xid, &[]), "snponly.efi"), None);
            if xid % 2 == 1 {
                watch.guard.forget(MacAddr([2, 0, 0, 0, 0, 1]));
            }
        }
    }

    #[test]
    fn an_unrecognized_ipxe_that_loops_gets_the_script() {
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
        let made =
            watch.guard.script_instead(&message, &Identity::of(&message), &loader, &left_out, watch.now);
        assert_eq!(made.map(|choice| choice.file.to_string()).as_deref(), Some("lanboot/boot.ipxe"));
        watch.now = watch.now.after(LOOP_TIME);
        assert_eq!(watch.overruled(&request(1, 6, hidden)), None, "it is tried again after a while");
    }

    /// A loader for an iPXE, of known or unknown content.
    fn loader(is_known: bool) -> Choice {
        let script = Choice::new(&"boot.ipxe".into(), Rule::Ipxe);
        Choice {
            fallback: Some(Box::new(script)),
            is_known,
            ..Choice::new(&"loader".into(), Rule::Arch(Arch::BIOS))
        }
    }

    #[test]
    fn r_02_an_ipxe_looping_with_unknown_content_gets_the_script() {
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
                let instead = watch.guard.script_instead(&message, &identity, &choice, &policy(), watch.now);
                let choice = instead.unwrap_or(choice);
                let found = watch.guard.record_boot_file(&message, &identity, &choice, &policy(), watch.now);
                let gets_script = found.is_some_and(|found| found.gets_script);
                files.push(if gets_script { format!("{}!", choice.file) } else { choice.file.to_string() });
                watch.now = watch.now.after(LATER);
            }
            files.join(" ")
        };
        let script = "boot.ipxe boot.ipxe boot.ipxe boot.ipxe";
        assert_eq!(rounds(false, false), format!("loader loader loader! {script}"));
        assert_eq!(rounds(false, true), format!("loader loader! boot.ipxe {script}"));
        // The machine may be restarted any number of times if its iPXE is in ROM.
        assert_eq!(rounds(true, false), "loader loader loader loader loader loader loader");
        // A program that this loader loads does not count as firmware either, such as wdsnbp.com, which asks port 4011.
        let mut watch = Watch::new();
        for xid in 0..20 {
            let (message, choice) = (request(1, xid, if xid % 2 == 0 { ipxe } else { &[] }), loader(true));
            let identity = Identity::of(&message);
            assert_eq!(watch.guard.script_instead(&message, &identity, &choice, &policy(), watch.now), None);
            watch.guard.record_boot_file(&message, &identity, &choice, &policy(), watch.now);
            watch.now = watch.now.after(LATER);
        }
        // A loader that leads to another iPXE, as PXELINUX can.
        assert_eq!(rounds(true, true), format!("loader loader! boot.ipxe {script}"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut guard = LoopGuard::default();
        let policy = policy();
        for n in 0..(3 * MAX_MACHINES as u32) {
            let mut message = request(1, n, &[]);
            message.chaddr[2..6].copy_from_slice(&n.to_be_bytes());
            let choice = Choice::new(&format!("{n}").as_str().into(), Rule::Ipxe);
            guard.record_boot_file(
                &message,
                &Identity::of(&message),
                &choice,
                &policy,
                Timestamp(u64::from(n)),
            );
            assert!(guard.len() <= MAX_MACHINES);
        }
        assert!(guard.len() > MAX_MACHINES / 2);
        let mut watch = Watch::new();
        for n in 0..100 {
            watch.give(&request(1, n, &[]), &format!("file{n}"));
            watch.now = Timestamp(watch.now.0 - LATER.as_millis() as u64);
        }
        assert_eq!(watch.guard.newer[&MacAddr([2, 0, 0, 0, 0, 1])].files.len(), MAX_FILES);
        watch.now = watch.now.after(LOOP_TIME);
        watch.give(&request(2, 1, &[]), "x");
        watch.now = watch.now.after(LOOP_TIME);
        watch.give(&request(2, 2, &[]), "x");
        assert_eq!(watch.guard.len(), 1, "the first is forgotten");
    }
}
