//! Events as bytes: one table of all events with their fields, from which writing and reading are made. The numbers of
//! events are fixed; a new event gets a new number, and an event whose fields change too.

use crate::event::{Client, Details, Event, NotKept, TransferStop};
use crate::journey::stored::field::{Field, Reader, Unreadable, Writer};
use crate::types::{Firmware, Hardware, MachineId, Rule};

/// Writes and reads an enum by a table of its variants: `number = Variant {fields}` or `number = Variant(fields)`.
macro_rules! variants {
    ($type:ident { $($number:literal = $variant:ident $({ $($field:ident),* })? $(( $($place:ident),* ))?,)* }) => {
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                match self {
                    $($type::$variant $({ $($field),* })? $(( $($place),* ))? => {
                        to.bytes.push($number);
                        $($($field.write(to);)*)?
                        $($($place.write(to);)*)?
                    })*
                }
            }

            fn read(from: &mut Reader<'_>) -> Result<$type, Unreadable> {
                Ok(match u8::read(from)? {
                    $($number => $type::$variant
                        $({ $($field: Field::read(from)?),* })?
                        $(( $({ let $place = Field::read(from)?; $place }),* ))?,)*
                    _ => return Err(Unreadable),
                })
            }
        }
    };
}

/// Writes and reads a struct by the list of its fields.
macro_rules! fields {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl Field for $type {
            fn write(&self, to: &mut Writer) {
                let $type { $($field),* } = self;
                $($field.write(to);)*
            }

            fn read(from: &mut Reader<'_>) -> Result<$type, Unreadable> {
                Ok($type { $($field: Field::read(from)?),* })
            }
        }
    )*};
}

fields! {
    Client { firmware, arch }
    Details { xid, secs, relay, server, boot_service }
    MachineId { mac, uuid, client, name }
    Hardware { memory, manufacturer, product, serial, platform, buildarch }
}

// Numbers stay below 128: they are read as LEB128. 38 was `SyslogDropped` without a count.
variants! { Event {
    1 = Received { message, client, details },
    2 = Answered { message, address, client, file, note },
    3 = Released { address, client },
    4 = Declined { address, client, by },
    5 = ProxyArp { by, addresses },
    6 = Conflict { address, by },
    7 = BootLoop { client, file, times, within, gets_script },
    8 = NoFileForArchitecture { client },
    9 = FileMissing { client, file, rule, set },
    10 = TextFailed { file, problem },
    11 = OnceEnded { target, why, next },
    12 = PoolExhausted { subnet, size, client },
    13 = NotKept { machine, address, given, client, why },
    14 = Heard { message, address, server, names_file },
    15 = DuplicateClientId { id, machines, more },
    16 = RogueServer { message, address, server, from },
    17 = AmbiguousAddress { address, by_dhcp, other, on_wire },
    18 = Booted { arch, chain, took },
    19 = Stuck { arch, stage, verdict, cause, advice },
    20 = GoesOn { arch },
    21 = Server { fact, text },
    22 = Dropped { reason, client },
    23 = TftpStarted { file, peer, size, blksize, options },
    24 = TftpAcknowledged { file, peer, block },
    25 = TftpSent { file, peer, bytes, took, resent },
    26 = TftpSizeProbe { file, peer },
    27 = TftpStopped { file, peer, bytes, size, took, resent, stop, rejected_blksize },
    28 = TftpUnanswered { peer, reason },
    29 = TftpReceived { file, peer, bytes, took },
    30 = TftpUploadStopped { file, peer, bytes, why },
    31 = TftpRefused { name, peer, reason },
    32 = HttpStarted { file, peer, wanted },
    33 = HttpSent { file, peer, bytes, to_end, took },
    34 = HttpAnswered { file, peer, status },
    35 = HttpStopped { file, peer, bytes, wanted, reason },
    36 = HttpRefused { name, peer, reason },
    37 = Syslog { peer, severity, program, text },
    39 = Facts { peer, hardware },
    40 = QuestionBlocked { client, details, port },
    41 = ReplyTooLarge { bytes },
    42 = CaptureDropped { reason, count },
    43 = SyslogDropped { peer, reason, count },
    44 = AsksByIpv6,
} }

variants! { NotKept {
    1 = Leased { holder, client },
    2 = InUse,
    3 = OtherSubnet { subnet, of_client },
    4 = Class { subnet },
} }

variants! { TransferStop {
    1 = Silent,
    2 = Refused { code, message },
    3 = Unreachable,
    4 = Replaced,
    5 = Evicted,
    6 = Unreadable,
    7 = ServerStops,
} }

variants! { Rule {
    1 = Once,
    2 = Machine(name),
    3 = Class(number),
    4 = Ipxe,
    5 = Default,
    6 = Targets,
    7 = Arch(arch),
    8 = Bootp,
    9 = Menu(place),
    10 = LoopGuard,
} }

variants! { Firmware {
    1 = Bootp,
    2 = BiosPxe,
    3 = UefiPxe,
    4 = HttpBoot,
    5 = OtherPxe,
    6 = IpxeRom,
    7 = Ipxe,
    8 = Pxelinux,
    9 = Grub,
    10 = UBoot,
    11 = RaspberryPi3,
    12 = RaspberryPi3Plus,
    13 = RaspberryPi4,
    14 = RaspberryPi5,
    15 = AppleBsdp,
    16 = LinuxIpDhcp,
    17 = Other,
} }
