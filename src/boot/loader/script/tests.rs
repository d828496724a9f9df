//! Tests of the generated scripts of each loader.

use super::*;
use crate::boot::loader::target::Machine;

const HTTP: Served = Served { http: Some(80), tftp: Some(69) };

fn targets() -> Targets {
    let target = |name: &str, title: &str, kernel: &str, initrd: &[&str], cmdline: &str| Target {
        name: name.into(),
        title: title.into(),
        kernel: kernel.into(),
        initrd: initrd.iter().map(|name| (*name).into()).collect(),
        cmdline: cmdline.into(),
    };
    Targets::new(
        vec![
            target(
                "debian",
                "Debian's installer",
                "debian/linux",
                &["debian/initrd.gz"],
                "auto=true url=http://{server}/{mac}/preseed.cfg ds=nocloud;s=x ---",
            ),
            target("live", "A live system", "http://10.0.0.9/vmlinuz", &["a.img", "b.img"], ""),
        ],
        None,
        None,
        vec![],
    )
}

fn facts() -> Facts<'static> {
    Facts {
        server: IpAddr::from([192, 168, 77, 1]),
        ip: None,
        mac: "52:54:00:12:34:56".parse().ok(),
        uuid: None,
        arch: None,
        serial: None,
        host_name: None,
        machine: None,
    }
}

fn made(loader: Loader, start: &BootAction) -> String {
    script(loader, start, &targets(), &facts(), HTTP).unwrap()
}

fn target(name: &str) -> BootAction {
    BootAction::Target(name.into())
}

#[test]
fn ipxe_fetches_by_http_where_that_is_on() {
    let text = made(Loader::Ipxe, &target("debian"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "#!ipxe");
    assert_eq!(
        lines[2],
        "kernel http://192.168.77.1/debian/linux initrd=initrd0 auto=true url=http://192.168.77.1/52:54:00:12:34:56/preseed.cfg ds=nocloud;s=x --- || goto failed"
    );
    assert_eq!(lines[3], "initrd --name initrd0 http://192.168.77.1/debian/initrd.gz || goto failed");
    assert_eq!(lines[4], "boot || goto failed");
    let ports = Served { http: None, tftp: Some(6969) };
    let text = script(Loader::Ipxe, &target("debian"), &targets(), &facts(), ports).unwrap();
    assert!(text.contains("kernel tftp://192.168.77.1:6969/debian/linux "), "{text}");
    assert_eq!(
        Served { http: Some(8080), tftp: None }.url(facts().server, "a b#c?d%20"),
        "http://192.168.77.1:8080/a%20b%23c%3Fd%2520"
    );
}

#[test]
fn every_script_of_ipxe_reports_facts_by_http() {
    let report = "imgfetch --name lanboot-facts --timeout 2000 http://192.168.77.1:8080/lanboot/facts?mac=${netX/mac}\
                  &memsize=${memsize}&range0=${smbios/0.19.4.8:hexraw}&range1=${smbios/1.19.4.8:hexraw}\
                  &range2=${smbios/2.19.4.8:hexraw}&range3=${smbios/3.19.4.8:hexraw}&manufacturer=${manufacturer:uristring}&product=${product:uristring}\
                  &serial=${serial:uristring}&platform=${platform}&buildarch=${buildarch} && imgfree lanboot-facts ||";
    let both = Served { http: Some(8080), tftp: Some(69) };
    for start in [target("debian"), BootAction::Menu, BootAction::Local] {
        let made = |served| script(Loader::Ipxe, &start, &targets(), &facts(), served).unwrap();
        assert_eq!(made(both).lines().nth(1), Some(report));
        let without = made(Served { http: None, tftp: Some(69) });
        assert!(!without.contains("lanboot/facts"), "{without}");
        for loader in [Loader::Grub, Loader::Pxelinux] {
            assert!(!script(loader, &start, &targets(), &facts(), both).unwrap().contains("facts"));
        }
    }
    assert_eq!(chain("x.ipxe", facts().server, both).lines().nth(1), Some(report));
}

#[test]
fn a_url_is_not_escaped_again() {
    let mut targets = targets();
    targets.list[1].kernel = "http://10.0.0.9/a%20b/linux?sig=a%2Fb#c".into();
    for loader in [Loader::Ipxe, Loader::Grub, Loader::Pxelinux] {
        let text = script(loader, &target("live"), &targets, &facts(), HTTP).unwrap();
        assert!(text.contains("/a%20b/linux?sig=a%2Fb#c"), "{text}");
    }
}

#[test]
fn grub_gets_words_and_paths() {
    let text = made(Loader::Grub, &target("debian"));
    assert!(text.contains("\nlinux /debian/linux auto=true url=http://192.168.77.1/52:54:00:12:34:56/preseed.cfg 'ds=nocloud;s=x' ---\ninitrd /debian/initrd.gz\nboot\n"), "{text}");
    let text = made(Loader::Grub, &target("live"));
    assert!(
        text.contains("\nlinux (http,10.0.0.9)/vmlinuz\n")
            || text.contains("linux '(http,10.0.0.9)/vmlinuz'\ninitrd /a.img /b.img\n"),
        "{text}"
    );
}

#[test]
fn pxelinux_gets_one_label_and_no_prompt() {
    assert_eq!(
        made(Loader::Pxelinux, &target("debian")),
        "DEFAULT debian\nPROMPT 0\nLABEL debian\n  LINUX ::debian/linux\n  INITRD ::debian/initrd.gz\n  \
         APPEND auto=true url=http://192.168.77.1/52:54:00:12:34:56/preseed.cfg ds=nocloud;s=x ---\n"
    );
    assert!(
        made(Loader::Pxelinux, &target("live"))
            .contains("  LINUX http://10.0.0.9/vmlinuz\n  INITRD ::a.img,::b.img\n")
    );
}

#[test]
fn each_loader_boots_the_local_disk_in_its_way() {
    let ipxe = made(Loader::Ipxe, &BootAction::Local);
    assert!(
        ipxe.starts_with("#!ipxe\n")
            && ipxe.contains("sanboot --no-describe --drive 0x80")
            && ipxe.ends_with("exit 1\n")
    );
    let shipped = include_str!("../../../../boot-images/boot.ipxe");
    assert!(shipped.contains(&format!("\n:local\n{IPXE_LOCAL}")), "the menu of boot-images/ does the same");
    let grub = made(Loader::Grub, &BootAction::Local);
    // GRUB's parser does not know these operators.
    assert!(grub.ends_with("exit 1\n") && !grub.contains("&&") && !grub.contains("||"), "{grub}");
    for line in [
        "  set root=hd0\n  chainloader +1\n  boot\n",
        "for loader in (hd*)/EFI/*/shim$suffix.efi ",
        "chainloader /EFI/BOOT/BOOT$suffix.EFI\nboot\nexit 1\n",
    ] {
        assert!(grub.contains(line), "{line} is not in\n{grub}");
    }
    assert_eq!(
        made(Loader::Pxelinux, &BootAction::Local),
        "DEFAULT local\nPROMPT 0\nLABEL local\n  LOCALBOOT -1\n"
    );
}

#[test]
fn a_menu_has_the_local_disk_and_all_startable_targets() {
    let ipxe = made(Loader::Ipxe, &BootAction::Menu);
    for text in [
        "item local ",
        "item target0 Debian's installer\n",
        "item target1 A live system\n",
        ":target0\nkernel http://192.168.77.1/debian/linux ",
        ":local\n",
        ":failed\n",
    ] {
        assert!(ipxe.contains(text), "{text} is not in\n{ipxe}");
    }
    let grub = made(Loader::Grub, &BootAction::Menu);
    assert!(
        grub.contains("menuentry 'Debian'\\''s installer' {\n  echo")
            && grub.contains("menuentry 'A live system'"),
        "{grub}"
    );
    let pxelinux = made(Loader::Pxelinux, &BootAction::Menu);
    assert!(
        pxelinux.contains("DEFAULT local\nPROMPT 1\nTIMEOUT 100\n")
            && pxelinux.contains("SAY   debian  Debian's installer\n")
            && pxelinux.contains("LABEL live\n"),
        "{pxelinux}"
    );
    let unidentified = Facts { mac: None, ..facts() };
    let text = script(Loader::Ipxe, &BootAction::Menu, &targets(), &unidentified, HTTP).unwrap();
    assert!(!text.contains("Debian") && text.contains("item target0 A live system"), "{text}");
}

#[test]
fn undefined_or_unwritable_values_are_errors() {
    let unidentified = Facts { mac: None, ..facts() };
    let error = script(Loader::Grub, &target("debian"), &targets(), &unidentified, HTTP).unwrap_err();
    assert_eq!(
        (error.key.as_str(), error.reason.as_str()),
        ("targets.debian.cmdline", "{mac} is not known of this machine")
    );
    for cmdline in ["a || b", "a ; b", "a #b"] {
        let mut targets = targets();
        targets.list[0].cmdline = cmdline.into();
        let made = |loader| script(loader, &target("debian"), &targets, &facts(), HTTP);
        assert!(made(Loader::Ipxe).is_err(), "{cmdline}");
        assert!(made(Loader::Grub).is_ok() && made(Loader::Pxelinux).is_ok(), "{cmdline}");
    }
    let machine = Machine {
        vars: [("x".to_owned(), crate::boot::loader::target::Var::Text("a\nreboot".into()))].into(),
        ..Machine::default()
    };
    let mut targets = targets();
    targets.list[0].cmdline = "{x}".into();
    let known = Facts { machine: Some(&machine), ..facts() };
    assert!(script(Loader::Pxelinux, &target("debian"), &targets, &known, HTTP).is_err());
    targets.list[0].kernel = "https://10.0.0.9/k".into();
    targets.list[0].cmdline = "".into();
    assert!(script(Loader::Ipxe, &target("debian"), &targets, &known, HTTP).is_ok());
    assert!(script(Loader::Grub, &target("debian"), &targets, &known, HTTP).is_err());
}

/// GRUB 2.06 turns `'say="two' 'words"'` into `say=\"two words\"`.
#[test]
fn grub_words_have_no_quotes() {
    let words_of = |cmdline: &str| {
        let mut targets = targets();
        targets.list[0].cmdline = cmdline.into();
        let text = script(Loader::Grub, &target("debian"), &targets, &facts(), HTTP).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("linux /debian/linux"))?;
        Some(line.trim_start().to_owned())
    };
    for (cmdline, words) in [
        (r#"a say="two  words" ---"#, "a 'say=two  words' ---"),
        (r#""say=two words"  x="" y="z""#, "'say=two words' x= y=z"),
        (r"root=/dev/dm\x2d0 $x", r"'root=/dev/dm\x2d0' '$x'"),
        ("", ""),
    ] {
        assert_eq!(words_of(cmdline).as_deref(), Some(words), "{cmdline}");
    }
    for cmdline in [r#"a=b"c d"e"#, r#"a="b"#, "a='b'", r"a\b", r"a\x2", r#"x="'""#] {
        assert_eq!(words_of(cmdline), None, "{cmdline}");
        let mut targets = targets();
        targets.list[0].cmdline = cmdline.into();
        assert!(script(Loader::Ipxe, &target("debian"), &targets, &facts(), HTTP).is_ok(), "{cmdline}");
    }
}

#[test]
fn a_script_can_chain_to_another() {
    let server = IpAddr::from([192, 168, 77, 1]);
    assert!(
        chain("x.ipxe", server, HTTP)
            .contains("\nchain --replace http://192.168.77.1/x.ipxe || goto failed\n")
    );
    assert!(chain("https://{server}/y", server, HTTP).contains("chain --replace https://192.168.77.1/y "));
}

#[test]
fn s_16_a_target_is_checked_as_a_whole_line() {
    let made = |loader, host_name: &str, cmdline: &str| {
        let mut targets = targets();
        targets.list[0].cmdline = cmdline.into();
        let known = Facts { host_name: Some(host_name.into()), ..facts() };
        script(loader, &target("debian"), &targets, &known, HTTP)
    };
    for (host_name, cmdline) in [
        ("|", "a {hostname}{hostname} reboot"),
        ("&", "a &{hostname} reboot"),
        ("{net0/mac}", "a=${hostname}"),
        ("#x", "a {hostname}"),
        ("x\\", "a={hostname}"),
        ("a\nreboot", "a={hostname}"),
    ] {
        assert!(made(Loader::Ipxe, host_name, cmdline).is_err(), "{host_name:?} {cmdline}");
    }
    for loader in [Loader::Grub, Loader::Pxelinux] {
        assert!(made(loader, "a\nreboot", "a={hostname}").is_err(), "{loader:?}");
    }
    let grub = made(Loader::Grub, ";", "a={hostname}{hostname} b").unwrap();
    assert!(grub.contains("linux /debian/linux 'a=;;' b\n"), "{grub}");
    let mut targets = targets();
    targets.list[0].initrd = vec!["a,b".into()];
    assert!(script(Loader::Pxelinux, &target("debian"), &targets, &facts(), HTTP).is_err());
    assert!(script(Loader::Ipxe, &target("debian"), &targets, &facts(), HTTP).is_ok());
}
