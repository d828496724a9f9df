//! The values that every level of the configuration can set, as clients get them: options, lease times, boot fields.

use std::net::Ipv4Addr;

use lanboot::config;
use lanboot::event::DropReason;
use lanboot::lease::{FOREVER, State};
use lanboot::wire::dhcp::{Message, MessageType};
use support::world::*;

fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, n)
}

/// A server of 192.168.77.0/24 with these keys in `dhcp`, in the subnet, and after `dhcp`.
fn world(dhcp: &str, subnet: &str, rest: &str) -> World {
    World::new(&format!(
        "dhcp:\n  mode: server\n{dhcp}\n  subnets:\n    - network: 192.168.77.0/24\n      pool: \
         192.168.77.50-192.168.77.99\n{subnet}\n{rest}\n"
    ))
}

fn offer(world: &mut World, n: u8, options: &[(u8, &[u8])]) -> Answer {
    world.ask(&message(n, MessageType::Discover, options))
}

const PXE: [(u8, &[u8]); 2] = [(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7])];
const LEVELS: &str = "  next_server: 10.0.0.1
  server_name: all.example
  boot_file: all.0
  options: {43: 'hex:0101', tftp_server_name: all, boot_file_name: all.1}
  classes:
    - {match: {vendor_class: phone}, next_server: 10.0.0.3, options: {43: 'hex:0103', 67: phone.1}}";

#[test]
fn r_21_each_level_sets_the_boot_fields_of_clients_that_do_not_boot() {
    let machines = "machines: [{mac: '02:00:00:00:00:c8', boot_file: mine.0, server_name: ''}]";
    let mut world = world(LEVELS, "      next_server: 10.0.0.2", machines);
    let seen = |answer: &Answer| {
        let Message { siaddr, .. } = answer.message;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (siaddr.octets()[3], text(answer.message.server_name()), text(answer.message.file_name()))
    };
    let asks = (55, &[43, 66, 67][..]);
    let plain = offer(&mut world, 1, &[asks]);
    assert_eq!(seen(&plain), (2, "all.example".to_owned(), "all.0".to_owned()));
    assert_eq!((plain.option(43), plain.option(66)), (Some(&[1, 1][..]), Some(&b"all"[..])));
    let phone = offer(&mut world, 2, &[asks, (60, b"phone 7")]);
    assert_eq!(seen(&phone), (3, "all.example".to_owned(), "all.0".to_owned()));
    assert_eq!((phone.option(43), phone.option(67)), (Some(&[1, 3][..]), Some(&b"phone.1"[..])));
    assert_eq!(seen(&offer(&mut world, 0xc8, &[asks])), (2, String::new(), "mine.0".to_owned()));
}

#[test]
fn r_21_clients_that_boot_get_the_boot_fields_of_lanboot() {
    let mut world = world(LEVELS, "", "boot: {arch: {uefi-x64: snponly.efi}}");
    let answer = offer(&mut world, 1, &[PXE[0], PXE[1], (55, &[43, 66, 67])]);
    assert_eq!((answer.message.siaddr, answer.message.file_name()), (SERVER, &b"snponly.efi"[..]));
    assert_eq!(
        (answer.option(67), answer.option(43)),
        (Some(&b"snponly.efi\0"[..]), Some(&[6, 1, 8, 255][..]))
    );
    let grub = offer(&mut world, 2, &[(55, &[1, 3, 6, 15, 12, 17, 18])]);
    assert_eq!((grub.message.siaddr, grub.message.file_name()), (SERVER, &b""[..]), "GRUB boots from here");
}

#[test]
fn r_21_a_pxe_client_without_a_boot_file_gets_no_configured_one() {
    let mut world = world(LEVELS, "", "");
    let answer = offer(&mut world, 1, &[PXE[0], PXE[1], (55, &[43, 66, 67])]);
    assert_eq!((answer.message.siaddr, answer.message.file_name()), (SERVER, &b""[..]));
    assert_eq!((answer.option(43), answer.option(67)), (None, None));
}

#[test]
fn r_21_our_address_stands_for_server_in_addresses() {
    let options =
        "      options: {router: '{server}', dns: [1.1.1.1, '{server}'], static_routes: '10.0.0.0 {server}'}";
    let mut world = world("  next_server: '{server}'", options, "");
    let answer = offer(&mut world, 1, &[(55, &[3, 6, 33])]);
    assert_eq!(answer.option(3), Some(&SERVER.octets()[..]));
    assert_eq!(answer.option(6), Some(&[1, 1, 1, 1, 192, 168, 77, 1][..]));
    assert_eq!(answer.option(33), Some(&[10, 0, 0, 0, 192, 168, 77, 1][..]));
    assert_eq!(answer.message.siaddr, SERVER);
}

#[test]
fn null_removes_an_option_and_always_send_sends_it_unasked() {
    let dhcp = "  always_send: [time_offset]
  options: {time_offset: 3600, ntp: 10.0.0.1}
  classes: [{match: {vendor_class: phone}, options: {ntp: null}, always_send: 42}]";
    let mut world = world(dhcp, "", "");
    let plain = offer(&mut world, 1, &[(55, &[42])]);
    assert_eq!((plain.option(2), plain.option(42)), (Some(&[0, 0, 14, 16][..]), Some(&[10, 0, 0, 1][..])));
    let phone = offer(&mut world, 2, &[(55, &[42]), (60, b"phone")]);
    assert_eq!((phone.option(2).is_some(), phone.option(42)), (true, None));
    assert_eq!(offer(&mut world, 3, &[(60, b"phone")]).option(42), None, "without a list");
}

#[test]
fn r_23_t1_and_t2_are_configured_per_subnet_or_for_all() {
    let times = |world: &mut World, asked: &[(u8, &[u8])]| {
        let answer = offer(world, 1, asked);
        [51, 58, 59].map(|code| answer.message.options.u32(code))
    };
    let mut all = world("  renew: 25%\n  rebind: 50%", "", "");
    assert_eq!(times(&mut all, &[]), [Some(3600), Some(900), Some(1800)]);
    let mut subnet = world("  renew: 25%\n  rebind: 50%", "      renew: 10m\n      rebind: 20m", "");
    assert_eq!(times(&mut subnet, &[]), [Some(3600), Some(600), Some(1200)]);
    let short = (51, &300u32.to_be_bytes()[..]);
    assert_eq!(times(&mut subnet, &[short]), [Some(300), Some(150), Some(263)], "T2 would be after the end");
}

#[test]
fn r_23_times_out_of_order_are_problems() {
    let problem = |dhcp: &str, subnet: &str| {
        let yaml = format!(
            "dhcp: {{mode: server, {dhcp} subnets: [{{network: 10.0.0.0/24, pool: 10.0.0.5-10.0.0.9{subnet}}}]}}"
        );
        config::load(&yaml).err().map(|problems| problems[0].to_string())
    };
    assert_eq!(problem("renew: 50%, rebind: 87.5%,", ", lease: infinite"), None);
    for (dhcp, subnet) in [
        ("", ", renew: 90%"),
        ("", ", renew: 60%, rebind: 50%"),
        ("rebind: 1h,", ""),
        ("renew: 40m,", ", rebind: 30m"),
        ("", ", lease: 10m, rebind: 15m"),
        ("", ", rebind: 100%"),
        ("renew: 0s,", ""),
    ] {
        assert!(problem(dhcp, subnet).is_some(), "{dhcp} {subnet}");
    }
}

#[test]
fn r_27_a_declined_address_is_quarantined_for_the_configured_time() {
    for (dhcp, subnet, seconds) in [
        ("", "", 600),
        ("  decline_time: 2s", "", 2),
        ("  decline_time: 2s", "      decline_time: 1h", 3600),
        ("  decline_time: 7d", "", 7 * 86400),
    ] {
        let mut world = world(dhcp, subnet, "");
        let address = world.lease(1);
        world.used.push(address);
        let options = [(50, &address.octets()[..]), (54, &SERVER.octets())];
        world.send(&message(1, MessageType::Decline, &options)).unwrap();
        let binding = world.book.binding(address).unwrap();
        assert_eq!((binding.state, binding.until.since(world.now).as_secs()), (State::Declined, seconds));
    }
}

#[test]
fn r_31_an_infinite_lease_has_no_t1_and_t2_and_never_ends() {
    let mut world = world("", "      lease: infinite", "");
    let found = offer(&mut world, 1, &[]);
    let times = |answer: &Answer| [51, 58, 59].map(|code| answer.message.options.u32(code));
    assert_eq!(times(&found), [Some(u32::MAX), None, None]);
    let address = world.lease(1);
    assert_eq!(world.disk[&address].until, FOREVER);
    world.pass(200 * 365 * 86400);
    assert_eq!(times(&world.ask(&extend(1, address))), [Some(u32::MAX), None, None]);
    let hour = 3600u32.to_be_bytes();
    let shorter = world.ask(&message(2, MessageType::Discover, &[(51, &hour)]));
    assert_eq!(times(&shorter), [Some(3600), Some(1800), Some(3150)], "a client may ask for less");
}

#[test]
fn rfc2131_3_3_infinity_is_granted_only_where_it_is_allowed() {
    let infinity = (51, &u32::MAX.to_be_bytes()[..]);
    let lease = |world: &mut World| offer(world, 1, &[infinity]).message.options.u32(51);
    assert_eq!(lease(&mut world("", "", "")), Some(3600));
    let mut allowed = world("", "      lease: {default: 1h, max: infinite}", "");
    assert_eq!(lease(&mut allowed), Some(u32::MAX));
}

#[test]
fn lease_times_of_a_machine_come_before_those_of_its_class() {
    let dhcp = "  classes: [{match: {vendor_class: phone}, lease: 30m}]";
    let machines = "machines: [{mac: '02:00:00:00:00:c8', lease: infinite}]";
    let mut world = world(dhcp, "      lease: 2h", machines);
    let phone = [(60, &b"phone"[..])];
    let lease =
        |world: &mut World, n, options: &[(u8, &[u8])]| offer(world, n, options).message.options.u32(51);
    assert_eq!(lease(&mut world, 1, &[]), Some(7200));
    assert_eq!(lease(&mut world, 1, &phone), Some(1800));
    assert_eq!(lease(&mut world, 0xc8, &phone), Some(u32::MAX));
}

/// A world with an option of `len` bytes.
fn with_long_option(len: usize) -> World {
    world("", &format!("      options: {{224: 'text:{}', domain: lab.example}}", "x".repeat(len)), "")
}

#[test]
fn r_28_options_that_do_not_fit_go_into_file_and_sname() {
    let mut world = with_long_option(320);
    let answer = offer(&mut world, 1, &[(57, &576u16.to_be_bytes()), (55, &[1, 224, 15])]);
    assert!(answer.bytes.len() <= 548, "{}", answer.bytes.len());
    let read = Message::decode(&answer.bytes).unwrap();
    assert_eq!(read.options.get(224), Some(&[b'x'; 320][..]), "RFC 3396 section 7: the parts are joined");
    assert_eq!((read.options.get(15), read.options.u8(52)), (Some(&b"lab.example"[..]), Some(1)));
    assert_eq!((read.file_name(), read.server_name()), (&b""[..], &b""[..]));
    let large = offer(&mut world, 1, &[(57, &1500u16.to_be_bytes()), (55, &[1, 224, 15])]);
    assert_eq!((large.option(52), large.option(224).map(<[u8]>::len)), (None, Some(320)));
}

#[test]
fn r_28_a_field_that_has_a_name_takes_no_options() {
    let long = "x".repeat(100);
    let options = format!("      options: {{224: 'text:{long}', 225: 'text:{long}', 226: 'text:{long}'}}");
    let mut world = world("  boot_file: phone.cfg", &options, "");
    let answer = offer(&mut world, 1, &[(55, &[224, 225, 226, 15])]);
    assert_eq!((answer.message.file_name(), answer.option(52)), (&b"phone.cfg"[..], Some(&[2][..])));
    assert_eq!([224, 225, 226].map(|code| answer.option(code).map(<[u8]>::len)), [Some(100); 3]);
}

#[test]
fn r_28_a_client_that_boots_never_gets_option_52() {
    let mut world = with_long_option(320);
    let grub = (55, &[1, 3, 6, 15, 12, 17, 18][..]);
    let linux = (60, &b"Linux ipconfig"[..]);
    let ipxe = [(77, &b"iPXE"[..]), (55, &[1, 224])];
    for options in [&[PXE[0], PXE[1], (55, &[1, 224])][..], &[grub], &[linux, (55, &[1, 224])], &ipxe] {
        let answer = offer(&mut world, 1, options);
        assert_eq!((answer.option(52), answer.option(224)), (None, None), "{options:?}");
    }
    let mut bootp = message(0xc8, MessageType::Discover, &[]);
    bootp.options = lanboot::wire::dhcp::Options::default();
    assert_eq!(world.send(&bootp).unwrap_err(), DropReason::BootpRefused);
}

#[test]
fn r_29_neither_router_nor_static_routes_go_beside_classless_routes() {
    let options = "      options: {router: 192.168.77.1, static_routes: '10.0.0.1 192.168.77.9', classless_routes: [{to: 0.0.0.0/0, \
         via: 192.168.77.1}]}";
    let mut world = world("  always_send: [router, static_routes]", options, "");
    let has = |answer: &Answer| [3, 33, 121].map(|code| answer.option(code).is_some());
    assert_eq!(has(&offer(&mut world, 1, &[(55, &[3, 33, 121])])), [false, false, true]);
    assert_eq!(has(&offer(&mut world, 1, &[(55, &[3, 33])])), [true, true, false]);
}

fn notes(options: &str) -> Vec<String> {
    let yaml = format!(
        "dhcp:\n  mode: server\n  subnets:\n    - {{network: 192.168.77.0/24, options: {{{options}}}}}\n"
    );
    config::load(&yaml).unwrap().notes.iter().map(ToString::to_string).collect()
}

#[test]
fn r_29_and_u_04_check_notes_a_default_route_that_clients_lose() {
    let lost = notes("router: 192.168.77.1, classless_routes: [{to: 10.5.1.0/24, via: 192.168.77.8}]");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("options.classless_routes: ") && lost[0].contains("0.0.0.0/0"), "{lost:?}");
    let kept = "router: 192.168.77.1, classless_routes: [{to: 10.5.1.0/24, via: 192.168.77.8}, {to: 0.0.0.0/0, via: \
                '{server}'}]";
    assert!(notes(kept).is_empty());
    assert!(
        notes("classless_routes: [{to: 10.5.1.0/24, via: 192.168.77.8}]").is_empty(),
        "no default route is meant"
    );
}

#[test]
fn r_30_an_illegal_value_is_a_problem_with_its_place() {
    for (option, expected) in [
        ("default_ttl: 0", "at least 1"),
        ("default_tcp_ttl: 'hex:00'", "at least 1"),
        ("max_datagram_reassembly: 575", "at least 576"),
        ("interface_mtu: 67", "at least 68"),
        ("path_mtu_plateau_table: [67, 1500]", "at least 68"),
        ("path_mtu_plateau_table: [1500, 576]", "smallest"),
        ("static_routes: '0.0.0.0 10.0.0.1'", "0.0.0.0"),
        ("ip_forwarding: 'hex:02'", "0 or 1"),
        ("ip_forwarding: 2", "true or false"),
        ("netbios_node_type: 5", "H-node"),
        ("router: 0.0.0.0", "{server}"),
        ("dns: []", "empty list"),
        ("policy_filter: 10.0.0.1", "two IPv4 addresses"),
        ("hostname: my host", "host name"),
        ("time_offset: 2147483648", "a number from"),
    ] {
        let yaml = format!("dhcp:\n  mode: off\n  options:\n    {option}\n");
        let problems = config::load(&yaml).unwrap_err();
        assert_eq!((problems.len(), problems[0].line), (1, 4), "{option}: {problems:?}");
        assert!(problems[0].message.contains(expected), "{option}: {problems:?}");
    }
    for option in [
        "default_ttl: 1",
        "interface_mtu: 68",
        "ip_forwarding: 1",
        "mobile_ip_home_agents: []",
        "domain: null",
    ] {
        assert!(config::load(&format!("dhcp:\n  mode: off\n  options: {{{option}}}\n")).is_ok(), "{option}");
    }
}

#[test]
fn r_37_other_servers_names_of_options_lead_to_ours() {
    for (name, expected) in [
        ("default-url", "did you mean `captive_portal`?"),
        ("v4-captive-portal", "did you mean `captive_portal`?"),
        ("next-server", "use the key `next_server`, beside `options`"),
        ("filename", "use the key `boot_file`, beside `options`"),
        ("bootfile-name", "did you mean `boot_file_name`?"),
        ("vendor-encapsulated-options", "did you mean `vendor_specific`?"),
        ("dhcp-renewal-time", "it is set by `renew:`"),
    ] {
        let problems = config::load(&format!("dhcp:\n  mode: off\n  options: {{{name}: x}}\n")).unwrap_err();
        assert!(problems[0].message.contains(expected), "{name}: {problems:?}");
    }
}

#[test]
fn addresses_of_every_level_belong_to_their_clients_network() {
    let mut world = world("", "      options: {router: '{server}'}", "");
    world.arrival.addresses = [Ipv4Addr::new(10, 9, 9, 9), SERVER].into();
    assert_eq!(offer(&mut world, 1, &[(55, &[3])]).option(3), Some(&ip(1).octets()[..]));
}

/// The messages of the problems that `boot` has.
fn boot_problems(rest: &str) -> Vec<String> {
    let yaml = format!("dhcp: {{mode: proxy}}\n{rest}\n");
    config::load(&yaml).err().unwrap_or_default().into_iter().map(|problem| problem.message).collect()
}

#[test]
fn r_32_settings_of_ipxe_pass_where_only_ipxe_gets_them() {
    for accepted in [
        "boot: {ipxe: 'http://10.0.0.1/boot.ipxe?mac=${net0/mac}'}",
        "boot: {ipxe: 'http://{server}/menu.php?mac=${net0/mac:hexhyp}&arch=${buildarch}'}",
        "boot: {ipxe: '${net0/mac}.ipxe'}",
        "machines: [{mac: '02:00:00:00:00:01', boot: 'http://{server}/${serial}/boot.ipxe'}]",
    ] {
        assert!(boot_problems(accepted).is_empty(), "{accepted}: {:?}", boot_problems(accepted));
    }
    for (refused, expected) in [
        ("boot: {arch: {uefi-x64: '${net0/mac}.efi'}}", "only iPXE expands"),
        ("boot: {bootp: '${net0/mac}.0'}", "only iPXE expands"),
        ("machines: [{mac: '02:00:00:00:00:01', boot: 'http://x/${net0/mac}.efi'}]", "only iPXE expands"),
        ("targets: {a: {kernel: 'http://x/${net0/mac}'}}", "only iPXE expands"),
        ("targets: {a: {kernel: k, cmdline: 'ip=${net0/ip}'}}", "only iPXE expands"),
        ("boot: {ipxe: 'http://${server}/x'}", "without $"),
        ("boot: {ipxe: 'http://x/${net0/mac'}", "without its }"),
        ("boot: {ipxe: 'http://x/{mac}'}", "{mac}"),
    ] {
        let problems = boot_problems(refused);
        assert!(
            problems.first().is_some_and(|problem| problem.contains(expected)),
            "{refused}: {problems:?}"
        );
    }
}

#[test]
fn r_32_ipxe_gets_its_settings_unchanged() {
    let yaml = "dhcp: {mode: server, subnets: [{network: 192.168.77.0/24, pool: 192.168.77.50-192.168.77.99}]}\nboot: \
                {ipxe: 'http://{server}/boot.ipxe?mac=${net0/mac}'}";
    let answer = offer(&mut World::new(yaml), 1, &[(77, b"iPXE"), (93, &[0, 7])]);
    assert_eq!(answer.message.file_name(), b"http://192.168.77.1/boot.ipxe?mac=${net0/mac}");
}

#[test]
fn r_21_a_boot_file_may_be_on_another_server() {
    let boot = "boot:
  arch: {uefi-x64: {file: /srv/grub.efi, server: 10.0.0.9}, uefi-x64-http: {file: a.efi, server: boot.example}}
machines: [{mac: '02:00:00:00:00:c8', boot: {file: mine.efi, server: 10.0.0.8}}]";
    let mut world = world("  options: {dns: 1.1.1.1}", "", boot);
    let answer = offer(&mut world, 1, &PXE);
    assert_eq!(
        (answer.message.siaddr.octets(), answer.message.file_name()),
        ([10, 0, 0, 9], &b"/srv/grub.efi"[..])
    );
    assert_eq!(
        (answer.option(66), answer.option(67)),
        (Some(&b"10.0.0.9\0"[..]), Some(&b"/srv/grub.efi\0"[..]))
    );
    assert_eq!(answer.message.options.ip(54), Some(SERVER));
    let http = offer(&mut world, 2, &[(60, b"HTTPClient:Arch:00016"), (93, &[0, 16])]);
    assert_eq!(http.message.file_name(), b"http://boot.example/a.efi");
    let own = offer(&mut world, 0xc8, &PXE);
    assert_eq!((own.message.siaddr.octets(), own.message.file_name()), ([10, 0, 0, 8], &b"mine.efi"[..]));
    for (refused, expected) in [
        ("boot: {arch: {uefi-x64: {file: a.efi, server: boot.example}}}", "does not resolve names"),
        ("boot: {arch: {uefi-x64: {file: a.efi}}}", "both `file` and `server`"),
        ("boot: {arch: {uefi-x64: {file: 'http://x/a', server: 10.0.0.9}}}", "found a URL"),
        ("boot: {arch: {uefi-x64: {file: a.efi, server: 10.0.0.9, port: 69}}}", "unknown key `port`"),
        ("boot: {arch: {uefi-x64: /srv/a.efi}}", "absolute path"),
    ] {
        let problems = boot_problems(refused);
        assert!(
            problems.first().is_some_and(|problem| problem.contains(expected)),
            "{refused}: {problems:?}"
        );
    }
}
