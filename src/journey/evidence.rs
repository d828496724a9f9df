//! The facts about one boot from which rules judge: what came, what was sent, and when. `observe/` fills them in from
//! records, `silence.rs` and `rules/` read them. Nothing here depends on how a fact became known.

use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use crate::types::{Arch, Firmware, Ipv4Network, MacAddr, Timestamp};

/// Maximum number of transfers of one boot that are followed at a time. iPXE loads one file at a time, GRUB too.
pub const MAX_TRANSFERS: usize = 8;

/// The facts about one boot.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The firmware that began the boot.
    pub firmware: Option<Firmware>,
    pub arch: Option<Arch>,
    /// The relay agent of the last message.
    pub relay: Option<Ipv4Addr>,
    /// `secs` of the first message.
    pub first_secs: u16,
    /// The DHCP exchange that was last begun.
    pub exchange: Exchange,
    /// The boot file that DHCP named last.
    pub named: Option<Named>,
    /// The step that the machine has reached.
    pub step: Step,
    /// When it was reached.
    pub step_at: Timestamp,
    /// Questions on port 4011, and answers to them, since the last step.
    pub asked_4011: u16,
    pub answered_4011: u16,
    /// Whether a question was on the wire and the firewall of this computer dropped it.
    pub blocked_4011: bool,
    /// When a question on port 4011 came last.
    pub asked_4011_at: Timestamp,
    /// Transfers that have begun and not ended.
    pub transfers: Vec<OpenTransfer>,
    /// The loader that was loaded whole last.
    pub loader: Option<LoaderRun>,
    /// The script that was sent last.
    pub script: Option<Arc<str>>,
    /// Whether nothing needs to follow that script: it has a menu, or boots the local disk.
    pub script_rests: bool,
    /// The kernel and the last initrd that were sent whole.
    pub kernel: Option<Arc<str>>,
    pub initrd: Option<Arc<str>>,
    /// A fact that stops the boot unless it goes on in spite of it, and when it came.
    pub obstacle: Option<(Obstacle, Timestamp)>,
    /// A file that a loader asked for and that is missing. It may do without.
    pub missing_hint: Option<Arc<str>>,
    /// A block size at which no block arrived.
    pub rejected_blksize: Option<u16>,
    /// A transfer whose first packet never arrived.
    pub blocked_transfer: Option<Arc<str>>,
    /// The memory that the machine reported, in MiB.
    pub memory: Option<u64>,
    /// Addresses that other machines use, as this boot met them, and the last of them.
    pub conflicts: u16,
    pub conflict: Option<Conflict>,
    /// The last answer took longer than clients wait, or could not be stored.
    pub slow: Option<Slow>,
    /// The machine's iPXE asked from another network card.
    pub other_card: Option<MacAddr>,
    /// Bytes of a DHCP reply that had to be cut into fragments or was too large for the path.
    pub large_reply: Option<u32>,
    /// When the machine asked by IPv6, the first time after its loader was loaded.
    pub asked_ipv6_at: Option<Timestamp>,
    /// Records of this boot may be missing since its last one, so that its silence proves nothing.
    pub unheard: bool,
}

/// One DHCP exchange: the retries of one DISCOVER, and its answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    pub xid: u32,
    /// `secs` of the last message.
    pub secs: u16,
    /// DISCOVERs or BOOTREQUESTs, of which `answered` got an OFFER or a reply.
    pub discovers: u16,
    pub answered: u16,
    /// Whether our answers gave no address, because another server does.
    pub proxy: bool,
    /// The first DISCOVER and the last one, and the time between the last two.
    pub first: Timestamp,
    pub last: Timestamp,
    pub gap: u64,
    /// REQUESTs for our offer, of which `acked` got an ACK.
    pub requests: u16,
    pub acked: u16,
    pub last_request: Timestamp,
    /// The time between the last two REQUESTs.
    pub request_gap: u64,
    /// Whether the last REQUEST got neither an answer nor a reason for having none: its lease is not stored yet.
    pub is_unanswered: bool,
    /// REQUESTs that came although the one before got an ACK.
    pub repeated: u16,
    /// Another server's offer that was heard.
    pub heard_offer: Option<Ipv4Addr>,
    /// Whether another server named a boot file.
    pub heard_file: bool,
    /// The server that the last REQUEST named.
    pub asked_server: Option<Ipv4Addr>,
    /// The other server whose offer the machine took, and when.
    pub chosen: Option<(Ipv4Addr, Timestamp)>,
    /// Whether that server's ACK was heard.
    pub heard_ack: bool,
    /// Whether iPXE asks, which states in `secs` which offers it received.
    pub is_ipxe: bool,
    pub is_bootp: bool,
}

/// A boot file that DHCP named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub file: Arc<str>,
    /// Whether another server serves it.
    pub elsewhere: bool,
    /// Whether iPXE got the name.
    pub to_ipxe: bool,
}

/// The steps of a boot that the server sees, in their usual order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Step {
    /// A DISCOVER or BOOTREQUEST came.
    #[default]
    Asked,
    /// A REQUEST for our offer came.
    Requested,
    /// It has an address and the name of a file.
    Named,
    /// It has the loader.
    Loaded,
    /// It has the script.
    Scripted,
    /// It has the kernel.
    Kernel,
    /// It has the last initrd.
    Initrd,
    /// Its system asked for an address.
    System,
    /// It continues where the server sees nothing: a file of another server, a menu, the local disk.
    Unseen,
}

/// A transfer that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransfer {
    pub file: Arc<str>,
    /// The client's port.
    pub port: u16,
    pub began: Timestamp,
    pub blksize: u16,
    /// Whether the client acknowledged the OACK.
    pub options_arrived: bool,
    /// Whether data arrives.
    pub flows: bool,
}

/// A loader that was loaded whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderRun {
    pub file: Arc<str>,
    /// How often in this boot.
    pub times: u16,
    pub at: Timestamp,
    /// Whether a sign of the loader has come: its DHCP, or its own request.
    pub runs: bool,
}

/// A fact that stops a boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// No boot file is configured for the architecture.
    NoFile,
    /// The pool has no free address.
    PoolExhausted {
        subnet: Ipv4Network,
        /// The number of addresses in the pool.
        size: u64,
    },
    /// Too many addresses of the pool are set aside after DECLINEs and checks.
    QuarantineFull,
    /// DECLINEs or checks took the address away.
    Conflict,
    /// A file that the machine needs was refused.
    Missing { file: Arc<str>, kind: MissingKind },
    /// A transfer of the kernel or an initrd ended early.
    CutOff { file: Arc<str>, bytes: u64, size: u64 },
    /// The same loader was loaded three times.
    Loop { file: Arc<str>, times: u16 },
    /// The machine's installer or initrd logged that it cannot go on.
    Installer { text: Arc<str> },
    /// The machine's initrd logged that it has no network.
    NoNetwork { text: Arc<str> },
}

/// The kind of a missing file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingKind {
    /// DHCP named it, or a loader needs it.
    BootFile,
    /// A kernel or initrd of a target.
    TargetFile,
    /// A script names it.
    ScriptFile,
    /// An answer file of an installer.
    Answer,
}

/// An address that another machine uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    pub address: Ipv4Addr,
    pub by: Option<MacAddr>,
}

/// A slow answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slow {
    /// The ACK came after this many milliseconds.
    Late(u64),
    /// The lease could not be stored, or not in time.
    NotStored,
}

impl Evidence {
    /// Records that the machine reached `step` at `at`.
    pub fn reach(&mut self, step: Step, at: Timestamp) {
        self.step = step;
        self.step_at = at;
    }

    /// Whether the machine asks for an address or for the name of its file.
    pub fn is_asking(&self) -> bool {
        matches!(self.step, Step::Asked | Step::Requested)
    }

    /// Whether the machine runs UEFI.
    pub fn is_uefi(&self) -> bool {
        self.arch.is_some_and(Arch::is_uefi)
            || matches!(self.firmware, Some(Firmware::UefiPxe | Firmware::HttpBoot))
    }

    /// Sets an obstacle, unless an earlier one is still in the way.
    pub fn meet(&mut self, obstacle: Obstacle, at: Timestamp) {
        self.obstacle.get_or_insert((obstacle, at));
    }

    /// Records that the machine asks by IPv6.
    pub fn ask_by_ipv6(&mut self, at: Timestamp) {
        if !self.has_asked_by_ipv6() {
            self.asked_ipv6_at = Some(at);
        }
    }

    /// Whether the machine asked by IPv6 since it has its loader.
    pub fn has_asked_by_ipv6(&self) -> bool {
        self.loader.as_ref().is_some_and(|run| self.asked_ipv6_at >= Some(run.at))
    }

    /// Whether the machine loads something that it began to load after `since`.
    pub fn goes_on_since(&self, since: Timestamp) -> bool {
        self.transfers.iter().any(|transfer| transfer.flows && transfer.began > since)
    }

    /// The transfer of the client's port `port`.
    pub fn transfer(&mut self, port: u16) -> Option<&mut OpenTransfer> {
        self.transfers.iter_mut().find(|transfer| transfer.port == port)
    }
}

/// The facts of a boot, which take memory only until the next boot of the machine begins. Then they read as empty.
#[derive(Clone, Debug, Default)]
pub struct Facts(Option<Box<Evidence>>);

static EMPTY: LazyLock<Evidence> = LazyLock::new(Evidence::default);

impl Facts {
    /// Frees the memory.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    /// The number of bytes in memory.
    pub fn bytes(&self) -> usize {
        if self.0.is_some() { size_of::<Evidence>() } else { 0 }
    }
}

impl Deref for Facts {
    type Target = Evidence;

    fn deref(&self) -> &Evidence {
        self.0.as_deref().unwrap_or(&EMPTY)
    }
}

impl DerefMut for Facts {
    fn deref_mut(&mut self) -> &mut Evidence {
        self.0.get_or_insert_default()
    }
}
