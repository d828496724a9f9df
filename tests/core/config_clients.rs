//! The configuration of clients: classes, pools and machines. Errors are reported with their place, and settings without
//! effect are noted.

use lanboot::config;
use lanboot::dhcp::classes::ClassRef;

/// The notes of a valid configuration.
fn notes(yaml: &str) -> Vec<String> {
    let config = config::load(yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
    config.notes.iter().map(ToString::to_string).collect()
}

/// The problems of an invalid configuration.
fn problems(yaml: &str) -> Vec<String> {
    config::load(yaml).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn r_22_pools_subnets_and_machines_name_classes() {
    let yaml = "
dhcp:
  mode: server
  subnets:
    - network: 10.0.0.0/24
      class: [known, b]
      pool: 10.0.0.50-10.0.0.59
      pools: [{range: 10.0.0.60-10.0.0.69, class: a}, {range: 10.0.0.70-10.0.0.79}]
  classes: [{match: {arch: 7}}, {name: a, match: {class: b}}, {name: b}]
machines: [{mac: 52:54:00:00:00:01, class: [b, a]}]
";
    let settings = config::load(yaml).unwrap().dhcp.unwrap();
    let subnet = &settings.subnets[0];
    assert_eq!(subnet.classes, [ClassRef::Known, ClassRef::Listed(2)]);
    let pools: Vec<(String, &[ClassRef])> =
        subnet.pools.iter().map(|pool| (pool.range.to_string(), &pool.classes[..])).collect();
    assert_eq!(
        pools,
        [
            ("10.0.0.60-10.0.0.69".to_owned(), &[ClassRef::Listed(1)][..]),
            ("10.0.0.70-10.0.0.79".to_owned(), &[]),
            ("10.0.0.50-10.0.0.59".to_owned(), &[]),
        ],
        "`pools` come first"
    );
    assert_eq!(subnet.parts().count(), 2, "pools for the same clients are one part");
    assert_eq!(settings.machines.iter().next().unwrap().classes, [2, 1]);
}

#[test]
fn r_20_named_addresses_in_a_pool_are_noted() {
    let yaml = "dhcp: {mode: server, subnets: [{network: 10.0.0.0/24, pool: 10.0.0.1-10.0.0.9, options: {router: \
                10.0.0.1, dns: [10.0.0.2, 10.0.0.200]}}]}";
    assert_eq!(
        notes(yaml),
        [
            "1:61: dhcp.subnets[0].pool: never given to clients, because other keys name them: 10.0.0.1 (`router`), \
          10.0.0.2 (`dns`)"
        ]
    );
}

#[test]
fn r_20_a_router_that_clients_cannot_reach_is_an_error() {
    let subnet = |rest: &str| format!("dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/24{rest}}}]}}");
    assert_eq!(
        problems(&subnet(", options: {router: 10.0.1.1}")),
        [
            "1:65: dhcp.subnets[0].options.router: expected a router in 10.0.0.0/24, found 10.0.1.1, which clients cannot \
          reach"
        ]
    );
    let pool = ", pools: [{range: 10.0.0.50-10.0.0.60, options: {3: 10.9.0.1}}]";
    assert_eq!(problems(&subnet(pool)).len(), 1);
    let shared = "
dhcp:
  mode: server
  subnets:
    - {network: 10.0.0.0/24, shared_network: x, options: {router: 10.0.1.1}}
    - {network: 10.0.1.0/24, shared_network: x}
  options: {router: 10.0.0.1}
machines: [{mac: 52:54:00:00:00:01, address: 10.0.0.9, options: {router: 10.0.1.7}}]
";
    assert!(problems(shared).is_empty(), "{:?}", problems(shared));
    assert_eq!(problems(&shared.replace("router: 10.0.1.7", "router: 10.0.2.7")).len(), 1);
    assert!(
        problems("dhcp: {mode: server, subnets: [{network: 10.0.0.0/32, options: {router: 10.1.0.1}}]}")
            .is_empty()
    );
}

#[test]
fn r_24_entries_with_one_mac_need_addresses_in_different_subnets() {
    let yaml = |machines: &str| {
        format!(
            "dhcp: {{mode: server, subnets: [{{network: 10.0.0.0/24}}, {{network: 10.0.1.0/24}}]}}\nmachines: \
             [{machines}]"
        )
    };
    let entry = |address: &str| format!("{{mac: 52:54:00:00:00:01{address}}}");
    let both = |one: &str, other: &str| problems(&yaml(&format!("{}, {}", entry(one), entry(other))));
    assert!(both(", address: 10.0.0.1", ", address: 10.0.1.1").is_empty());
    assert_eq!(both(", address: 10.0.0.1", ", address: 10.0.0.2").len(), 1);
    assert_eq!(both(", address: 10.0.0.1", "").len(), 1);
    let twice = problems(&yaml(&entry(", address: [10.0.0.1, 10.0.0.2]")));
    assert_eq!(
        twice,
        ["2:57: machines[0].address[1]: the machine has an address in 10.0.0.0/24 already (line 2)"]
    );
    assert!(problems(&yaml(&entry(", address: [10.0.0.1, 10.0.1.2]"))).is_empty());
}

#[test]
fn r_31_macs_of_no_machine_are_errors_and_addresses_of_a_proxy_are_noted() {
    for (mac, what) in [
        ("ff:ff:ff:ff:ff:ff", "the broadcast address"),
        ("00:00:00:00:00:00", "the address of no card"),
        ("01:00:5e:00:00:01", "a multicast address"),
        ("0100.5e00.0001", "a multicast address"),
    ] {
        let found = problems(&format!("machines: [{{mac: [52:54:00:00:00:01, '{mac}']}}]"));
        assert!(found[0].contains("machines[0].mac[1]") && found[0].ends_with(what), "{found:?}");
    }
    let proxy = "{dhcp: {mode: proxy}, machines: [{mac: 52:54:00:00:00:01, address: 10.0.0.1}, {mac: \
                 52:54:00:00:00:02, address: 10.0.0.2}]}";
    assert_eq!(
        notes(proxy),
        [
            "1:68: machines[0].address: 10.0.0.1 is not given (and 1 more): without `mode: server` another DHCP server \
          gives the addresses"
        ]
    );
}

#[test]
fn r_33_a_machine_in_the_second_subnet_of_one_interface_is_noted() {
    let yaml = |shared: &str| {
        format!(
            "interfaces: [eth1]\ndhcp: {{mode: server, subnets: [{{network: 10.0.0.0/24{shared}}}, {{network: \
             10.0.1.0/24{shared}}}]}}\nmachines: [{{mac: 52:54:00:00:00:01, address: 10.0.1.9}}]\n"
        )
    };
    let found = notes(&yaml(""));
    assert!(found.len() == 1 && found[0].contains("machines[0].address"), "{found:?}");
    assert!(found[0].contains("`shared_network`"), "{found:?}");
    assert!(notes(&yaml(", shared_network: lab")).is_empty());
}
