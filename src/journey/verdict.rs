//! Verdicts: why a boot stopped. The ids are fixed, because other programs match them.

use std::fmt;

/// Defines the ids with their names and the messages on the machine's screen that go with them.
macro_rules! verdicts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, [$($screen:literal),*];)*) => {
        /// The id of a verdict.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum VerdictId { $($(#[$doc])* $variant,)* }

        impl VerdictId {
            /// All ids, in the order of the stages of a boot.
            pub const ALL: &[VerdictId] = &[$(VerdictId::$variant,)*];

            /// Returns the stable name.
            pub fn name(self) -> &'static str {
                match self { $(VerdictId::$variant => $name,)* }
            }

            /// Returns the messages and codes that the machine may show.
            pub fn screen(self) -> &'static [&'static str] {
                match self { $(VerdictId::$variant => &[$($screen),*],)* }
            }
        }
    };
}

verdicts! {
    /// No boot file is configured for the architecture.
    NoFileForArchitecture = "no_file_for_architecture", ["PXE-E53", "Nothing to boot"];
    /// The machine took the offer of another DHCP server.
    OtherServerChosen = "other_server_chosen", ["PXE-E53"];
    /// The machine received two offers and took none.
    OffersNotSelected = "offers_not_selected", ["PXE-E16", "PXE-E18"];
    /// Our replies do not arrive.
    RepliesLost = "replies_lost", ["PXE-E51", "PXE-E18"];
    /// The relay agent does not forward our replies.
    RelayDropsReplies = "relay_drops_replies", ["PXE-E51", "PXE-E18"];
    /// The machine asked on port 4011 and got no answer.
    Port4011Silent = "port_4011_silent", ["PXE-E55", "PXE-E16"];
    /// The address is used by another machine.
    AddressConflict = "address_conflict", [];
    /// The pool has no free address.
    PoolExhausted = "pool_exhausted", ["PXE-E51", "PXE-E18"];
    /// The machine has an address and a file name, and requests no file.
    TftpNotStarted = "tftp_not_started", ["PXE-E11", "PXE-E32", "PXE-E18"];
    /// The first packet of a transfer does not arrive.
    TftpBlocked = "tftp_blocked", ["PXE-E32", "PXE-E18"];
    /// Packets of the granted block size do not arrive.
    BlockSizeTooLarge = "block_size_too_large", ["PXE-E32", "PXE-E18"];
    /// A file that DHCP named is missing.
    FileMissing = "file_missing", ["PXE-E23", "PXE-E3B", "PXE-T01"];
    /// The loader is for another processor or firmware.
    WrongArchitecture = "wrong_architecture", ["Exec format error", "Unsupported"];
    /// Secure Boot refuses the loader.
    SecureBootRefused = "secure_boot_refused", ["Access Denied", "Security Violation"];
    /// iPXE loads itself again and again.
    IpxeLoop = "ipxe_loop", [];
    /// iPXE runs and cannot use the network card.
    IpxeNoNetwork = "ipxe_no_network", ["No more network devices"];
    /// The script of the loader failed.
    ScriptFailed = "script_failed", ["ipxe.org/…"];
    /// The kernel or an initrd is missing or was not loaded whole.
    KernelMissing = "kernel_missing", ["ipxe.org/2d0c613b", "ipxe.org/4c116035"];
    /// The machine has too little memory.
    NotEnoughRam = "not_enough_ram", ["write error", "Kernel panic"];
    /// The system of the initrd has no network.
    InitrdNoNetwork = "initrd_no_network", ["Unable to find a medium"];
    /// The installer stopped.
    InstallerFailed = "installer_failed", [];
    /// The machine boots its disk before the network.
    BootedFromDisk = "booted_from_disk", [];
    /// The machine is configured and has never sent a packet.
    NeverSeen = "never_seen", [];
    /// Our DHCP reply was too large for the path.
    ReplyTooLarge = "reply_too_large", ["PXE-E51"];
    /// The link was down while the machine asked.
    LinkFlaps = "link_flaps", ["PXE-E51", "PXE-E61"];
    /// The server answered too late.
    ServerSlow = "server_slow", ["PXE-E51", "PXE-E32"];
}

impl VerdictId {
    /// Returns the id with this name.
    pub fn from_name(name: &str) -> Option<VerdictId> {
        VerdictId::ALL.iter().copied().find(|id| id.name() == name)
    }
}

impl fmt::Display for VerdictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confidence {
    Certain,
    Likely,
}

impl Confidence {
    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Certain => "certain",
            Confidence::Likely => "likely",
        }
    }
}

/// Why a boot stopped, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub id: VerdictId,
    /// The cause in one sentence.
    pub cause: String,
    /// The advice in one sentence, with the line of config.yaml or the command.
    pub advice: String,
    pub confidence: Confidence,
}

impl Verdict {
    pub fn certain(id: VerdictId, cause: impl Into<String>, advice: impl Into<String>) -> Verdict {
        Verdict::new(id, &cause.into(), &advice.into(), Confidence::Certain)
    }

    pub fn likely(id: VerdictId, cause: impl Into<String>, advice: impl Into<String>) -> Verdict {
        Verdict::new(id, &cause.into(), &advice.into(), Confidence::Likely)
    }

    fn new(id: VerdictId, cause: &str, advice: &str, confidence: Confidence) -> Verdict {
        Verdict { id, cause: escaped(cause), advice: escaped(advice), confidence }
    }
}

/// Escapes text that may come off the wire, once: backslashes, and everything but printable ASCII and the two other
/// characters of our texts.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\\' {
            out.push_str("\\\\");
        } else if c == ' ' || c.is_ascii_graphic() || matches!(c, '…' | '→') {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_off_the_wire_are_escaped() {
        let verdict = Verdict::likely(VerdictId::FileMissing, "`a\n\u{1b}[2J` is missing", "put it there");
        assert_eq!(verdict.cause, "`a\\u{a}\\u{1b}[2J` is missing");
        assert_eq!(escaped("a → b…"), "a → b…");
        assert_eq!(escaped(r"\u{a}"), r"\\u{a}", "the text of a client, not an escaped newline");
    }

    #[test]
    fn ids_are_those_of_the_documentation() {
        assert_eq!(VerdictId::ALL.len(), 26);
        assert!(VerdictId::ALL.iter().all(|id| VerdictId::from_name(id.name()) == Some(*id)));
    }
}
