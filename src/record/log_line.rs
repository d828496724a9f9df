//! Formats an event as a log line. The [`Recorder`](super::Recorder) calls it. Untrusted text is escaped here.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use super::{boot_line, file_line};
use crate::event::{Client, Event, Message, NotKept, Record};
use crate::types::{ClientId, Escaped, Firmware, Ipv4Network, MacAddr, MachineId};

/// Formats the log line of a record. People grep for the first words, so they must stay stable.
pub fn line(record: &Record) -> String {
    let (interface, event) = (record.interface.as_deref().unwrap_or("?"), &record.event);
    match event {
        Event::Received { message, client, .. } => {
            format!("{}({interface}) {}", message.name(), client_text(record, client))
        }
        Event::Answered { .. } => answered(record, interface, event),
        Event::Released { address, .. } => {
            format!("released({interface}) {address} {}", hardware(record))
        }
        Event::Declined { address, by, .. } => declined(record, interface, *address, *by),
        Event::ProxyArp { by, addresses } => proxy_arp(interface, *by, addresses),
        Event::Conflict { address, by } => {
            let by = by.map_or_else(|| "a machine".to_owned(), |mac| mac.to_string());
            format!("conflict({interface}) {address} is used by {by}; it is not offered for a while")
        }
        Event::BootLoop { .. } => boot_loop(record, interface, event),
        Event::PoolExhausted { subnet, size, client } => {
            exhausted(record, interface, *subnet, (*size, client))
        }
        Event::NotKept { machine, address, given, why, .. } => {
            not_kept(record, machine, (*address, *given), why)
        }
        Event::DuplicateClientId { id, machines, more } => {
            duplicate_client_id(interface, id, machines, *more)
        }
        Event::RogueServer { message, address, server, from } => {
            rogue_server(record, interface, *message, *address, (*server, *from))
        }
        Event::Booted { .. } | Event::Stuck { .. } | Event::GoesOn { .. } => boot_line::line(record),
        Event::Heard { message, address, server, .. } => {
            let name = message.name();
            format!("heard({interface}) {name} {address} from {server} to {}", hardware(record))
        }
        Event::AmbiguousAddress { address, by_dhcp, other, on_wire } => {
            ambiguous_address(*address, *by_dhcp, *other, *on_wire)
        }
        Event::Dropped { reason, client } => {
            let client = client.as_ref().map(|client| client_text(record, client));
            let sender = client.or_else(|| record.machine.as_ref().map(MachineId::to_string));
            let sender = sender.map(|sender| format!(" {sender}")).unwrap_or_default();
            format!("dropped({interface}){sender} reason={}", reason.name())
        }
        Event::Server { text, .. } => text.clone(),
        Event::QuestionBlocked { .. } | Event::ReplyTooLarge { .. } | Event::AsksByIpv6 => {
            captured(record, interface)
        }
        Event::NoFileForArchitecture { client } => {
            format!(
                "no_file_for_architecture({interface}) {}: {}",
                client_text(record, client),
                no_file(client)
            )
        }
        Event::FileMissing { client, file, rule, set } => {
            let client = client_text(record, client);
            format!("file_missing({interface}) {client} file={file} rule={rule}: {}", missing(file, *set))
        }
        Event::TextFailed { problem, .. } => escaped(problem).to_string(),
        Event::OnceEnded { .. } => once_line(record, event),
        _ => file_line::line(record),
    }
}

/// The line about a packet that only the capture has seen.
fn captured(record: &Record, interface: &str) -> String {
    match &record.event {
        Event::QuestionBlocked { client, port, .. } => format!(
            "blocked({interface}) {}: its question on UDP port {port} did not reach lanboot, so the firewall of this computer \
             dropped it: `lanboot doctor` prints the command that opens the port",
            client_text(record, client)
        ),
        Event::ReplyTooLarge { bytes } => format!(
            "too_large({interface}) {}: the reply of {bytes} bytes does not pass in one piece, and firmware drops fragments",
            hardware(record)
        ),
        Event::AsksByIpv6 => format!(
            "ipv6({interface}) {}: asks for a router or an address by IPv6, which lanboot does not serve",
            hardware(record)
        ),
        _ => String::new(),
    }
}

fn answered(record: &Record, interface: &str, event: &Event) -> String {
    let Event::Answered { message, address, file, note, .. } = event else { return String::new() };
    let mut line = format!("{}({interface})", message.name());
    if !address.is_unspecified() {
        let _ = write!(line, " {address}");
    }
    let _ = write!(line, " {}", hardware(record));
    if let Some((file, rule)) = file {
        // The first item of the menu loads no file.
        let file = if file.is_empty() { "none" } else { file };
        let _ = write!(line, " file={file} rule={rule}");
    }
    if let Some(note) = note {
        let _ = write!(line, ": {note}");
    }
    line
}

fn boot_loop(record: &Record, interface: &str, event: &Event) -> String {
    let Event::BootLoop { client, file, times, within, gets_script } = event else { return String::new() };
    let why = if *gets_script && client.firmware.is_ipxe() {
        "it is an iPXE, and that file seems to load iPXE again; from now on it gets the script: set `boot.ipxe` \
         to have it at once"
    } else if *gets_script {
        "it seems to be an iPXE that does not say so (neither option 77 nor 175) and loads itself; from now on \
         it gets the script of iPXE"
    } else {
        "that file does not come, does not start or leads back here; its screen says which"
    };
    let (who, within) = (client_text(record, client), within.as_secs());
    format!("loop({interface}) {who} was given {file} {times} times in {within} s: {why}")
}

/// The advice for a client without a boot file.
fn no_file(client: &Client) -> String {
    let Some(arch) = client.arch else {
        return "it states no architecture, so it gets no boot file: give it `boot` in `machines`".to_owned();
    };
    let arch = arch.to_string();
    let usual = match arch.as_str() {
        "bios" => Some(("undionly.kpxe", "ipxe")),
        "uefi-x64" => Some(("snponly.efi", "ipxe")),
        "uefi-x64-http" => Some(("http://{server}/snponly.efi", "ipxe")),
        "uefi-arm64" => Some(("grubnetaa64.efi", "grub")),
        _ => None,
    };
    match usual {
        Some((file, set)) => format!(
            "no boot file for its architecture: add `{arch}: {file}` to `boot.arch`; `lanboot images add {set}` gets the file"
        ),
        None => format!("no boot file for its architecture: add `{arch}: FILE` to `boot.arch`"),
    }
}

/// The advice for a file that is missing. `set` is the set of `lanboot images add` that has it.
fn missing(file: &str, set: Option<&str>) -> String {
    format!("this file is not in `images`: {}", how_to_add(file, set))
}

/// How a person gets the missing file `file`, a name or a URL of this server, into `images`.
pub fn how_to_add(file: &str, set: Option<&str>) -> String {
    let path =
        file.split_once("://").map_or(file, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = path.trim_start_matches('/');
    match set {
        Some(set) => format!("`lanboot images add {set}` gets it"),
        // The command puts files into no other folder than `images` itself.
        None if path.contains('/') || path.contains('\\') => "put it there".to_owned(),
        None => format!("put it there, or `lanboot images add PATH/{path}`"),
    }
}

fn declined(record: &Record, interface: &str, address: Ipv4Addr, by: Option<MacAddr>) -> String {
    let why = match by {
        Some(by) => format!("{by} uses that address"),
        None => "it found another machine at that address, and none answers there now".to_owned(),
    };
    let client = hardware(record);
    format!("declined({interface}) {address} {client}: {why}; it is not offered for a while")
}

fn proxy_arp(interface: &str, by: MacAddr, addresses: &[Ipv4Addr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(Ipv4Addr::to_string).collect();
    format!(
        "proxy_arp({interface}) {by} answers for {}, which no client has: its answers are ignored from now on and these \
         addresses are offered; switch off proxy ARP on that machine, or take the addresses that it uses out of the pool",
        addresses.join(", ")
    )
}

/// Formats the end of a `once`.
fn once_line(record: &Record, event: &Event) -> String {
    let Event::OnceEnded { target, why, next } = event else { return String::new() };
    let machine = record.machine.as_ref();
    let name = machine.and_then(|machine| machine.name.as_deref()).map(escaped);
    let name = name.map_or_else(|| hardware(record), |name| name.to_string());
    let next = next.as_ref().map(|next| format!(" and starts {next} next")).unwrap_or_default();
    format!("once {target} of {name} is over: {}{next}", escaped(why))
}

fn exhausted(
    record: &Record,
    interface: &str,
    subnet: Ipv4Network,
    (size, client): (u64, &Client),
) -> String {
    format!(
        "exhausted({interface}) {subnet} has no address left for {}, of a pool of {size}: enlarge `pool`, shorten \
         `lease`, or list them with `lanboot leases`",
        client_text(record, client)
    )
}

fn not_kept(
    record: &Record,
    machine: &str,
    (address, given): (Ipv4Addr, Option<Ipv4Addr>),
    why: &NotKept,
) -> String {
    let given = given.map_or_else(|| "no address".to_owned(), |given| given.to_string());
    let why = match why {
        NotKept::Leased { holder, client } => {
            let id: String = format!("{client:?}").chars().take(MAX_ID).collect();
            let holder = holder.map_or_else(|| format!("client id {id}"), |mac| mac.to_string());
            format!(
                "{holder} has a lease of it: wait for its end, end it with `lanboot leases release {address}`, or add that \
                 client to the machine's entry"
            )
        }
        NotKept::InUse => "another machine answers there: give that machine another address".to_owned(),
        NotKept::OtherSubnet { subnet, of_client } => format!(
            "it is in {subnet}, and the client is in {of_client}: if both are on one wire, give both subnets the same \
             `shared_network`"
        ),
        NotKept::Class { subnet } => format!(
            "{subnet} is not for clients of its class: add a class of that subnet to the machine's `class`, or change \
             `class` of the subnet"
        ),
    };
    let interface = record.interface.as_deref().unwrap_or("?");
    let mac = record.machine.as_ref().and_then(|machine| machine.mac);
    // A machine without a name is named after its MAC.
    let mac = mac.map_or_else(|| "no-mac".to_owned(), |mac| mac.to_string());
    let name = Some(machine).filter(|name| **name != *mac);
    let name = name.map(|name| format!("{} ", Escaped(name.as_bytes()))).unwrap_or_default();
    format!("reservation({interface}) machine {name}{mac} gets {given} and not {address}: {why}")
}

/// Maximum characters of a client identifier in a line. DUIDs of all types in use fit.
const MAX_ID: usize = 96;

fn duplicate_client_id(interface: &str, id: &ClientId, machines: &[MacAddr], more: usize) -> String {
    let mut names = machines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(names, " and {more} more");
    }
    let id: String = format!("{id:?}").chars().take(MAX_ID).collect();
    format!(
        "duplicate_client_id({interface}) {names} send the same client id {id}, as copies of one system do: each MAC keeps \
         its own address; give each system its own machine-id, or set `dhcp.match_client_id: false`"
    )
}

fn rogue_server(
    record: &Record,
    interface: &str,
    message: Message,
    address: Ipv4Addr,
    (server, from): (Ipv4Addr, Option<MacAddr>),
) -> String {
    let mut line = format!("rogue_server({interface}) {server}");
    if let Some(from) = from {
        let _ = write!(line, " at {from}");
    }
    let _ = match message {
        Message::Request => write!(line, " was chosen as DHCP server"),
        message => write!(line, " sent {}", message.name()),
    };
    if !address.is_unspecified() {
        let _ = write!(line, " of {address}");
    }
    let by = if message == Message::Request { "by" } else { "to" };
    let _ = write!(line, " {by} {}", hardware(record));
    line + ": another DHCP server answers here, and a client takes either one's address; switch one of them off, or use \
            `mode: proxy`"
}

fn ambiguous_address(
    address: IpAddr,
    by_dhcp: Option<MacAddr>,
    other: Option<MacAddr>,
    on_wire: bool,
) -> String {
    let mac = |mac: Option<MacAddr>| mac.map_or_else(|| "no-mac".to_owned(), |mac| mac.to_string());
    let (by_dhcp, other) = (mac(by_dhcp), mac(other));
    let how = match on_wire {
        true => format!("is {by_dhcp} by DHCP and {other} by ARP"),
        false => format!("is {by_dhcp} and {other} by DHCP"),
    };
    format!(
        "contested {address} {how}: it gets what an unknown machine gets, and no `once`; look for two machines with that \
         address, for a bridge that changes MAC addresses, or for forged DHCP messages"
    )
}

/// The machine: its MAC, and its name if it has one.
fn hardware(record: &Record) -> String {
    record.machine.as_ref().map_or_else(|| "no-mac".to_owned(), MachineId::to_string)
}

fn client_text(record: &Record, client: &Client) -> String {
    let mut text = hardware(record);
    if client.firmware != Firmware::Other {
        let _ = write!(text, " {}", client.firmware);
    }
    if let Some(arch) = client.arch {
        let _ = write!(text, " {arch}");
    }
    text
}

fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_40_advice_names_the_command_where_it_helps() {
        for (file, set, expected) in [
            ("undionly.kpxe", Some("ipxe"), "`lanboot images add ipxe` gets it"),
            ("own.efi", None, "put it there, or `lanboot images add PATH/own.efi`"),
            ("http://10.0.0.1:8080/own.efi", None, "put it there, or `lanboot images add PATH/own.efi`"),
            ("debian/linux", None, "put it there"),
            ("tftp://10.0.0.1/debian/linux", None, "put it there"),
        ] {
            assert_eq!(how_to_add(file, set), expected);
        }
    }
}
