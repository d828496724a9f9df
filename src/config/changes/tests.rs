use std::net::Ipv4Addr;

use super::*;
use crate::boot::loader::target::{BootAction, Machine, OneTimeBoot};
use crate::config::Config;
use crate::types::MacAddr;

const YAML: &str = "
dhcp:
  mode: server
  conflict_check: off
  subnets:
    - {network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}
    - {network: 10.2.0.0/24, pool: 10.2.0.50-10.2.0.99}
targets: {debian: {kernel: k}, rescue: {kernel: r}}
machines:
  - {name: n1, mac: [02:00:00:00:00:01, 02:00:00:00:00:11], address: 10.1.0.5, once: rescue}
  - {name: n2, mac: 02:00:00:00:00:02}
  - {name: n3, uuid: 7c0fa7e0-1d2b-4c5d-8e6f-0123456789ab}
";

fn file() -> Config {
    crate::config::load(YAML).unwrap()
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn pin(last: u8, address: [u8; 4]) -> Pin {
    Pin { mac: mac(last), address: address.into() }
}

fn find(text: &str) -> NamedMachine {
    NamedMachine::find(text, &file().targets).unwrap()
}

fn pinned(pins: &[Pin]) -> Applied {
    apply(&file(), &Changes::stored([], pins.to_vec()))
}

#[test]
fn machines_are_found_by_name_and_by_every_spelling_of_a_mac() {
    let n1 = MachineKey::Mac(mac(1));
    for text in ["n1", "02:00:00:00:00:01", "02-00-00-00-00-11", "020000000011", "2:0:0:0:0:1"] {
        assert_eq!(find(text).key, n1, "{text}");
    }
    assert_eq!(find("n3").key, MachineKey::Name("n3".into()));
    let unknown = find("02:00:00:00:00:09");
    assert_eq!((unknown.key, unknown.entry), (MachineKey::Mac(mac(9)), None));
    let targets = file().targets;
    let refused = |text: &str| NamedMachine::find(text, &targets).unwrap_err();
    assert!(matches!(refused("n4"), Refused::NoMachine(_)));
    for text in ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
        assert!(matches!(refused(text), Refused::Wrong(_)), "{text}");
    }
}

#[test]
fn once_replaces_the_one_before_and_ends_by_its_number() {
    let targets = file().targets;
    let mut changes = Changes::default();
    changes.set_once(&find("n1"), "debian", &targets).unwrap();
    changes.set_once(&find("02:00:00:00:00:11"), "local", &targets).unwrap();
    assert_eq!(changes.once.len(), 1, "the same machine");
    let number = changes.once[0].number;
    changes.set_once(&find("n1"), "local", &targets).unwrap();
    assert!(!changes.end_once(number), "that one was replaced");
    assert!(changes.clear_once(&find("n1"), &targets) && changes.once.is_empty());
    let refused = changes.set_once(&find("n1"), "debain", &targets).unwrap_err();
    assert!(matches!(&refused, Refused::Wrong(why) if why.contains("debian")), "{refused:?}");
}

#[test]
fn changes_are_limited() {
    let targets = file().targets;
    let all = |n: usize| MacAddr([2, 1, 0, 0, (n >> 8) as u8, n as u8]);
    let once = (0..MAX_ONCE).map(|n| (MachineKey::Mac(all(n)), "debian".to_owned()));
    let pins = (0..MAX_PINS).map(|n| Pin { mac: all(n), address: Ipv4Addr::from(n as u32) }).collect();
    let mut changes = Changes::stored(once, pins);
    assert!(matches!(changes.set_once(&find("n1"), "debian", &targets), Err(Refused::Full(_))));
    assert!(matches!(changes.pin(pin(1, [10, 1, 0, 5])), Err(Refused::Full(_))));
    let replaced = NamedMachine::find("02:01:00:00:00:07", &targets).unwrap();
    changes.set_once(&replaced, "rescue", &targets).unwrap();
}

#[test]
fn a_requested_boot_comes_before_the_once_of_the_entry() {
    let targets = file().targets;
    let mut changes = Changes::default();
    for (machine, target) in [("n1", "debian"), ("n3", "local"), ("02:00:00:00:00:09", "rescue")] {
        changes.set_once(&find(machine), target, &targets).unwrap();
    }
    let Applied { config, unused } = apply(&file(), &changes);
    assert!(unused.is_empty(), "{unused:?}");
    let start = |name: &str| BootAction::Target(name.into());
    let of = |machine: Option<&Machine>| {
        let machine = machine.unwrap();
        (machine.requested.clone().map(|boot| boot.action), machine.once.clone())
    };
    let targets = &config.targets;
    assert_eq!(of(targets.machine(Some(mac(0x11)), None)), (Some(start("debian")), Some(start("rescue"))));
    assert_eq!(of(targets.named("n3")), (Some(BootAction::Local), None));
    assert_eq!(of(targets.machine(Some(mac(9)), None)), (Some(start("rescue")), None));
    let settings = config.dhcp.unwrap();
    assert!(settings.once.has(Some(mac(0x11)), None) && settings.once.has(Some(mac(9)), None));
    assert!(!settings.once.has(Some(mac(2)), None));
    assert_eq!(settings.machines.iter().count(), 3, "a machine without an entry stays unknown to DHCP");
}

#[test]
fn without_changes_the_settings_are_those_of_the_file() {
    let Applied { config, unused } = apply(&file(), &Changes::default());
    assert!(config == file() && unused.is_empty());
}

#[test]
fn a_once_that_the_file_does_not_allow_has_no_effect() {
    let once = [("gone", MachineKey::Mac(mac(1))), ("debian", MachineKey::Name("n9".into()))];
    let changes = Changes::stored(once.map(|(target, key)| (key, target.to_owned())), vec![]);
    let Applied { config, unused } = apply(&file(), &changes);
    assert_eq!(config, file());
    assert!(unused[0].contains("\"gone\"") && unused[1].contains("n9"), "{unused:?}");
}

/// As after `Changes::set_once`, the number belongs to the entry that it was set for.
#[test]
fn the_last_of_two_requests_for_one_machine_counts() {
    let keys = [MachineKey::Mac(mac(1)), MachineKey::Mac(mac(0x11))];
    let changes = Changes::stored(keys.map(|key| (key, "debian".to_owned())), vec![]);
    let Applied { config, .. } = apply(&file(), &changes);
    let requested = config.targets.named("n1").unwrap().requested.clone();
    assert_eq!(requested, Some(OneTimeBoot { number: 2, action: BootAction::Target("debian".into()) }));
}

#[test]
fn a_pin_is_a_reservation_as_if_it_stood_in_the_file() {
    let pins = [pin(2, [10, 1, 0, 60]), pin(9, [10, 1, 0, 61]), pin(2, [10, 2, 0, 60])];
    let Applied { config, unused } = pinned(&pins);
    assert!(unused.is_empty(), "{unused:?}");
    let yaml = YAML
        .replace("mac: 02:00:00:00:00:02}", "mac: 02:00:00:00:00:02, address: [10.1.0.60, 10.2.0.60]}")
        + "  - {mac: 02:00:00:00:00:09, address: 10.1.0.61}\n";
    let written = crate::config::load(&yaml).unwrap();
    assert_eq!(config, Config { notes: Vec::new(), ..written });
}

#[test]
fn the_file_comes_before_a_pin() {
    for (other, why) in [
        (pin(2, [10, 1, 0, 5]), "reserved for n1"),
        (pin(1, [10, 1, 0, 60]), "10.1.0.5 is reserved for n1"),
        (pin(2, [10, 3, 0, 60]), "dhcp.subnets"),
        (pin(2, [10, 1, 0, 255]), "dhcp.subnets"),
    ] {
        let Applied { config, unused } = pinned(&[other]);
        assert_eq!(config, file());
        assert!(unused.len() == 1 && unused[0].contains(why), "{unused:?}");
        let settings = file().dhcp.unwrap();
        assert!(pin_conflict(&settings, other).is_some_and(|text| text.contains(why)));
    }
    let Applied { unused, .. } = pinned(&[pin(2, [10, 1, 0, 60]), pin(9, [10, 1, 0, 60])]);
    assert!(unused.len() == 1 && unused[0].contains("reserved for n2"), "{unused:?}");
    assert!(pinned(&[pin(1, [10, 1, 0, 5])]).unused.is_empty(), "the file says the same");
    assert_eq!(pin_conflict(&file().dhcp.unwrap(), pin(1, [10, 1, 0, 5])), None);
}

#[test]
fn pins_are_removed_by_any_name_of_their_machine() {
    let targets = file().targets;
    for name in ["n1", "02:00:00:00:00:01", "02:00:00:00:00:11"] {
        let mut changes = Changes::stored([], vec![pin(0x11, [10, 1, 0, 5]), pin(2, [10, 1, 0, 6])]);
        assert!(changes.unpin(&find(name), &targets) && !changes.unpin(&find(name), &targets), "{name}");
        assert_eq!(changes.pins, [pin(2, [10, 1, 0, 6])]);
    }
}

#[test]
fn the_yaml_of_a_pin_can_be_pasted() {
    let empty = "dhcp: {mode: server, subnets: [{network: 10.1.0.0/24, pool: 10.1.0.50-10.1.0.99}]}\n";
    let yaml = pin_yaml(&[pin(9, [10, 1, 0, 61])], None);
    assert_eq!(yaml, "machines:\n  - {mac: \"02:00:00:00:00:09\", address: 10.1.0.61}\n");
    let machines = crate::config::load(&format!("{empty}{yaml}")).unwrap().dhcp.unwrap().machines.clone();
    assert_eq!(machines.iter().next().unwrap().addresses, [Ipv4Addr::new(10, 1, 0, 61)]);
    let odd = Machine { name: "a \"b\": c".into(), ..Machine::default() };
    let yaml = pin_yaml(&[pin(9, [10, 1, 0, 61])], Some(&odd));
    let machines = crate::config::load(&format!("{empty}{yaml}")).unwrap().dhcp.unwrap().machines.clone();
    assert_eq!(&*machines.iter().next().unwrap().name, "a \"b\": c");
}
