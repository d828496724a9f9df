//! Classes: match clients by what they send, and give them their own options, boot files and pools. `classify.rs` finds
//! the classes of each client once per message; `config/` builds them.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::identity::Identity;
use crate::boot::machine_boot::MachineBoot;
use crate::dhcp::fqdn;
use crate::dhcp::level::Level;
use crate::dhcp::pattern::Pattern;
use crate::types::{Arch, Ipv4Network, MacAddr, Stage, Uuid};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::{pxe, relay, vendor};

/// One entry of `dhcp.classes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The name by which pools, subnets, machines and other classes refer to the class.
    pub name: Option<Arc<str>>,
    /// `match`: a client is in the class if it meets all conditions of one of these lists. Without any, only machines
    /// that name the class are in it.
    pub alternatives: Vec<Vec<Condition>>,
    /// Whether clients in the class get no answer.
    pub ignore: bool,
    /// Values for clients in the class.
    pub level: Level,
    /// Boot file of clients in the class.
    pub boot: Option<MachineBoot>,
}

/// A class as other settings refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassRef {
    /// Clients with an entry in `machines`.
    Known,
    /// Clients without an entry in `machines`.
    Unknown,
    /// Firmware that boots by PXE.
    Pxe,
    /// Firmware that boots by HTTP.
    Http,
    /// iPXE.
    Ipxe,
    /// Plain BOOTP clients: messages without a type.
    Bootp,
    /// The class at this place in `dhcp.classes`.
    Listed(usize),
}

impl ClassRef {
    /// The classes that need no entry in `dhcp.classes`.
    pub const BUILT_IN: [(&str, ClassRef); 6] = [
        ("known", ClassRef::Known),
        ("unknown", ClassRef::Unknown),
        ("pxe", ClassRef::Pxe),
        ("http", ClassRef::Http),
        ("ipxe", ClassRef::Ipxe),
        ("bootp", ClassRef::Bootp),
    ];
}

/// One key of `match`. Most have one or more values, and the client must match one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Option 60.
    VendorClass(Vec<Pattern>),
    /// Option 77, either raw or any of its RFC 3004 instances.
    UserClass(Vec<Pattern>),
    /// Option 12, or the first label of option 81 if there is no option 12. The comparison ignores case.
    Hostname(Vec<Pattern>),
    /// Any architecture in option 93.
    Arch(Vec<Arch>),
    /// The hardware address as twelve hexadecimal digits in lower case.
    Mac(Vec<Pattern>),
    /// Option 97.
    Uuid(Vec<Uuid>),
    /// The address of the relay agent (`giaddr`).
    Relay(Vec<Ipv4Network>),
    /// The network of the client's subnet, or of one that shares its wire.
    Subnet(Vec<Ipv4Network>),
    /// A suboption of option 82.
    RelayOption(u8, Vec<Pattern>),
    /// Data of an enterprise in option 124.
    VendorData(u32, Vec<Pattern>),
    /// A suboption of an enterprise in option 125.
    VendorOption(u32, u8, Vec<Pattern>),
    /// Any option.
    Option(u8, Vec<Pattern>),
    /// Membership in one of these classes.
    Class(Vec<ClassRef>),
    /// No list of conditions is met as a whole.
    Not(Vec<Vec<Condition>>),
}

/// The facts about a client that conditions are compared with.
struct Facts<'m> {
    message: &'m Message,
    identity: &'m Identity,
    /// Whether an address belongs to the client's wire.
    is_here: &'m dyn Fn(Ipv4Addr) -> bool,
    /// The host name in lower case, once a condition needed it.
    hostname: OnceCell<Option<Vec<u8>>>,
}

impl Condition {
    fn holds(&self, facts: &Facts<'_>, members: &Membership<'_>) -> bool {
        let options = &facts.message.options;
        let any = |patterns: &[Pattern], value: &[u8]| patterns.iter().any(|pattern| pattern.matches(value));
        let is_some = |patterns: &[Pattern], value: Option<&[u8]>| value.is_some_and(|v| any(patterns, v));
        match self {
            Condition::VendorClass(patterns) => is_some(patterns, options.get(code::VENDOR_CLASS)),
            Condition::UserClass(patterns) => options
                .get(code::USER_CLASS)
                .is_some_and(|sent| pxe::user_classes(sent).any(|class| any(patterns, class))),
            Condition::Hostname(patterns) => {
                is_some(patterns, facts.hostname.get_or_init(|| hostname(facts.message)).as_deref())
            }
            Condition::Arch(arches) => facts.identity.arches.iter().any(|arch| arches.contains(arch)),
            Condition::Mac(patterns) => facts.message.mac().is_some_and(|mac| any(patterns, &digits_of(mac))),
            Condition::Uuid(uuids) => {
                pxe::machine_uuids(options).is_some_and(|sent| sent.iter().any(|uuid| uuids.contains(uuid)))
            }
            Condition::Relay(networks) => {
                let giaddr = facts.message.giaddr;
                !giaddr.is_unspecified() && networks.iter().any(|network| network.contains(giaddr))
            }
            Condition::Subnet(networks) => networks.iter().any(|network| (facts.is_here)(network.address())),
            Condition::RelayOption(number, patterns) => is_some(patterns, relay::suboption(options, *number)),
            Condition::VendorData(enterprise, patterns) => {
                vendor::class_data(options, *enterprise).any(|data| any(patterns, data))
            }
            Condition::VendorOption(enterprise, number, patterns) => {
                is_some(patterns, vendor::suboption(options, *enterprise, *number))
            }
            Condition::Option(code, patterns) => is_some(patterns, options.get(*code)),
            Condition::Class(classes) => classes.iter().any(|class| members.has(*class)),
            Condition::Not(alternatives) => !any_holds(alternatives, facts, members),
        }
    }

    /// The only hardware addresses that meet the condition, if they are few.
    fn macs(&self) -> Option<Vec<MacAddr>> {
        let Condition::Mac(patterns) = self else { return None };
        patterns.iter().map(|pattern| str::from_utf8(pattern.prefix()).ok()?.parse().ok()).collect()
    }

    /// The listed classes that the condition depends on.
    pub fn depends_on(&self, found: &mut Vec<usize>) {
        match self {
            Condition::Class(classes) => found.extend(classes.iter().filter_map(|class| match class {
                ClassRef::Listed(place) => Some(*place),
                _ => None,
            })),
            Condition::Not(alternatives) => {
                alternatives.iter().flatten().for_each(|condition| condition.depends_on(found));
            }
            _ => {}
        }
    }
}

fn any_holds(alternatives: &[Vec<Condition>], facts: &Facts<'_>, members: &Membership<'_>) -> bool {
    alternatives.iter().any(|conditions| conditions.iter().all(|condition| condition.holds(facts, members)))
}

/// The client's host name in lower case.
fn hostname(message: &Message) -> Option<Vec<u8>> {
    let options = &message.options;
    let name = options.get(code::HOSTNAME).map(<[u8]>::to_vec);
    Some(name.or_else(|| fqdn::host_of(options.get(code::FQDN)?))?.to_ascii_lowercase())
}

fn digits_of(mac: MacAddr) -> [u8; 12] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 0x0f)).copied().unwrap_or(b'0');
    let mut digits = [b'0'; 12];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(mac.0) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
    }
    digits
}

/// The classes of one client.
#[derive(Clone, Debug)]
pub struct Membership<'a> {
    /// The listed classes with their places, in the order of the configuration. Empty for most clients, so that most
    /// messages need no memory for it.
    listed: Vec<(usize, &'a Class)>,
    is_known: bool,
    stage: Stage,
    is_bootp: bool,
}

impl<'a> Membership<'a> {
    /// The listed classes of the client, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &'a Class> {
        self.listed.iter().map(|(_, class)| *class)
    }

    /// The listed classes with their places in `dhcp.classes`.
    pub fn places(&self) -> impl Iterator<Item = (usize, &'a Class)> {
        self.listed.iter().copied()
    }

    /// Whether the client is in `class`.
    pub fn has(&self, class: ClassRef) -> bool {
        match class {
            ClassRef::Known => self.is_known,
            ClassRef::Unknown => !self.is_known,
            ClassRef::Pxe => self.stage == Stage::Pxe,
            ClassRef::Http => self.stage == Stage::Http,
            ClassRef::Ipxe => self.stage == Stage::Ipxe,
            ClassRef::Bootp => self.is_bootp,
            ClassRef::Listed(place) => self.listed.iter().any(|(other, _)| *other == place),
        }
    }

    /// Whether the client may use what is restricted to one of `classes`. Without any, every client may.
    pub fn admits(&self, classes: &[ClassRef]) -> bool {
        classes.is_empty() || classes.iter().any(|class| self.has(*class))
    }

    /// Whether a class of the client is ignored.
    pub fn is_ignored(&self) -> bool {
        self.listed.iter().any(|(_, class)| class.ignore)
    }
}

/// All classes, indexed so that a client is compared only with those that it may be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    list: Vec<Class>,
    /// The places of the classes in the order of evaluation: each comes after those that its conditions name.
    order: Vec<usize>,
    /// Positions in `order` of the classes that any client may be in, ascending.
    general: Vec<usize>,
    /// Positions in `order` of the classes that only this hardware address may be in, ascending.
    by_mac: HashMap<MacAddr, Vec<usize>>,
}

impl From<Vec<Class>> for Classes {
    /// The conditions must not form a cycle.
    fn from(list: Vec<Class>) -> Classes {
        let (order, _) = evaluation_order(&list);
        let mut classes = Classes { list, order, ..Classes::default() };
        for (position, place) in classes.order.iter().enumerate() {
            let alternatives = classes.list.get(*place).map_or(&[][..], |class| &class.alternatives);
            let of_one = |conditions: &Vec<Condition>| conditions.iter().find_map(Condition::macs);
            let macs: Option<Vec<Vec<MacAddr>>> = alternatives.iter().map(of_one).collect();
            let Some(macs) = macs else {
                classes.general.push(position);
                continue;
            };
            for mac in macs.into_iter().flatten() {
                let positions = classes.by_mac.entry(mac).or_default();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            }
        }
        classes
    }
}

/// Sorts classes so that each comes after those that its conditions name. Also returns the places of classes that are
/// in a cycle or depend on one; these come last.
pub fn evaluation_order(list: &[Class]) -> (Vec<usize>, Vec<usize>) {
    let mut named_by: Vec<Vec<usize>> = vec![Vec::new(); list.len()];
    let mut open = vec![0usize; list.len()];
    for (place, class) in list.iter().enumerate() {
        let mut names = Vec::new();
        class.alternatives.iter().flatten().for_each(|condition| condition.depends_on(&mut names));
        for name in names {
            if let (Some(others), Some(open)) = (named_by.get_mut(name), open.get_mut(place)) {
                others.push(place);
                *open = open.saturating_add(1);
            }
        }
    }
    let is_ready = |open: &[usize], place: usize| open.get(place) == Some(&0);
    let mut order: Vec<usize> = (0..list.len()).filter(|place| is_ready(&open, *place)).collect();
    let mut done = 0usize;
    while let Some(place) = order.get(done).copied() {
        done = done.saturating_add(1);
        for other in named_by.get(place).into_iter().flatten().copied() {
            if let Some(open) = open.get_mut(other) {
                *open = open.saturating_sub(1);
            }
            if is_ready(&open, other) {
                order.push(other);
            }
        }
    }
    let cyclic: Vec<usize> = (0..list.len()).filter(|place| !is_ready(&open, *place)).collect();
    order.extend(&cyclic);
    (order, cyclic)
}

impl Classes {
    /// All classes, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.list.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The classes of the client that sent `message`. `by_machine` are the places of those that its entry in `machines`
    /// names, if it has one. `is_here` says whether an address belongs to the client's wire.
    pub fn of<'a>(
        &'a self,
        message: &Message,
        identity: &Identity,
        by_machine: Option<&[usize]>,
        is_here: &dyn Fn(Ipv4Addr) -> bool,
    ) -> Membership<'a> {
        let mut members = Membership {
            listed: Vec::new(),
            is_known: by_machine.is_some(),
            stage: identity.stage,
            is_bootp: message.message_type().is_none(),
        };
        if self.list.is_empty() {
            return members;
        }
        let named = by_machine.unwrap_or_default().iter();
        members.listed.extend(named.filter_map(|place| Some((*place, self.list.get(*place)?))));
        let facts = Facts { message, identity, is_here, hostname: OnceCell::new() };
        let of_mac = message.mac().and_then(|mac| self.by_mac.get(&mac));
        let (mut general, mut special) = (self.general.as_slice(), of_mac.map_or(&[][..], Vec::as_slice));
        loop {
            let position = match (general, special) {
                ([first, rest @ ..], [other, ..]) if first < other => {
                    general = rest;
                    *first
                }
                (_, [first, rest @ ..]) => {
                    special = rest;
                    *first
                }
                ([first, rest @ ..], []) => {
                    general = rest;
                    *first
                }
                ([], []) => break,
            };
            let Some(place) = self.order.get(position).copied() else { continue };
            let Some(class) = self.list.get(place) else { continue };
            if any_holds(&class.alternatives, &facts, &members) && !members.has(ClassRef::Listed(place)) {
                members.listed.push((place, class));
            }
        }
        members.listed.sort_unstable_by_key(|(place, _)| *place);
        members
    }

    /// Whether a class gives its clients a boot file.
    pub fn have_boot_files(&self) -> bool {
        self.list.iter().any(|class| class.boot.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(conditions: Vec<Condition>) -> Class {
        Class { alternatives: vec![conditions], ..Class::default() }
    }

    fn places(classes: &Classes, message: &Message) -> Vec<usize> {
        let members = classes.of(message, &Identity::of(message), None, &|_| false);
        members.places().map(|(place, _)| place).collect()
    }

    #[test]
    fn r_25_classes_may_name_later_ones_and_hardware_addresses_are_indexed() {
        let mac = |digits: &str| Condition::Mac(vec![Pattern::text(digits)]);
        let in_class = |place| Condition::Class(vec![ClassRef::Listed(place)]);
        let classes = Classes::from(vec![
            class(vec![in_class(3)]),
            class(vec![mac("020000000001*")]),
            class(vec![mac("0200*")]),
            class(vec![in_class(1), Condition::Not(vec![vec![in_class(4)]])]),
            class(vec![mac("020000000002*"), in_class(2)]),
            Class::default(),
        ]);
        assert_eq!((classes.general.len(), classes.by_mac.len()), (3, 2), "one has no conditions at all");
        let mut message = Message::new(crate::wire::dhcp::BOOTREQUEST);
        message.chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        assert_eq!(places(&classes, &message), [0, 1, 2, 3]);
        message.chaddr[5] = 2;
        assert_eq!(places(&classes, &message), [2, 4]);
        let members = classes.of(&message, &Identity::of(&message), Some(&[5, 1]), &|_| false);
        assert_eq!(members.places().map(|(place, _)| place).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert!(members.has(ClassRef::Known) && !members.has(ClassRef::Unknown));
        assert!(members.has(ClassRef::Bootp) && members.admits(&[]) && !members.admits(&[ClassRef::Http]));
    }

    #[test]
    fn a_subnet_in_match_is_that_of_the_clients_wire() {
        let network: Ipv4Network = "10.20.0.0/24".parse().unwrap();
        let classes = Classes::from(vec![
            class(vec![Condition::Subnet(vec![network])]),
            class(vec![Condition::Not(vec![vec![Condition::Subnet(vec![network])]])]),
        ]);
        let message = Message::new(crate::wire::dhcp::BOOTREQUEST);
        let at = |is_here: &dyn Fn(Ipv4Addr) -> bool| -> Vec<usize> {
            let members = classes.of(&message, &Identity::of(&message), None, is_here);
            members.places().map(|(place, _)| place).collect()
        };
        assert_eq!(at(&|address| network.contains(address)), [0]);
        assert_eq!(at(&|_| false), [1]);
    }

    #[test]
    fn cycles_are_found_without_recursion() {
        let in_class = |place| class(vec![Condition::Class(vec![ClassRef::Listed(place)])]);
        assert_eq!(evaluation_order(&[in_class(1), in_class(0), in_class(0)]).1, [0, 1, 2]);
        let chain: Vec<Class> = (1..100_000).map(in_class).chain([Class::default()]).collect();
        let (order, cyclic) = evaluation_order(&chain);
        assert_eq!((order.first(), order.last(), cyclic.len()), (Some(&99_999), Some(&0), 0));
    }

    #[test]
    fn hardware_addresses_are_written_as_digits() {
        assert_eq!(&digits_of(MacAddr([0x52, 0x54, 0, 0xab, 0xcd, 0xef])), b"525400abcdef");
    }
}
