//! Lines of installers and initrds: those that prove a failure, and those that only look like it. All of them are real.

use lanboot::event::Event;
use lanboot::journey::boot::BootResult;
use lanboot::types::Severity;

use super::lab::*;

fn log(lab: &mut Lab, program: &str, text: &str) {
    let (program, text) = (program.to_owned(), text.to_owned());
    let peer = "192.168.77.50:514".parse().unwrap();
    lab.event(Event::Syslog { peer, severity: Severity::NOTICE, program, text });
}

/// A machine whose installer runs.
fn installing() -> Lab {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(10_000);
    lab.lease(SYSTEM, 10);
    assert_eq!(lab.result(), BootResult::Booted);
    lab.pass(60_000);
    lab
}

/// Lines after which the installer or the initrd does not go on, with their programs.
const FAILURES: &[(&str, &str)] = &[
    ("main-menu", "WARNING **: Menu item 'netcfg' failed."),
    ("main-menu", "WARNING **: Configuring 'bootstrap-base' failed with error code 1"),
    ("anaconda", "The following problem occurred on line 10 of the kickstart file:"),
    ("anaconda", "CRT payload:Payload setup error: Failed to download metadata for repo 'anaconda'"),
    (
        "anaconda",
        "ERR bootloader:storage configuration failed: Unable to allocate requested partition scheme.",
    ),
    ("anaconda", "Running kickstart %%onerror script(s)"),
    ("anaconda", "Some packages, groups or modules are broken, the installation will be aborted."),
    ("dracut-initqueue", "Warning: anaconda: failed to fetch kickstart from http://192.168.77.1/ks.cfg"),
    (
        "subiquity_event.2311",
        "finish: subiquity/Install/install: FAIL: Command '['systemd-cat', '--level-prefix=false']' returned non-zero exit status 3.",
    ),
    ("subiquity_event.2311", "finish: subiquity/Late/run/command_8: FAIL: Command 'false' returned non-zero"),
    ("", "YaST got signal 11 at YCP file /usr/share/YaST2/clients/inst_autosetup.ycp:94"),
    ("", "[  230.001] dracut-initqueue[372]: Warning: Could not boot."),
    ("", "[    4.902194] dracut: FATAL: iscsiroot requested but kernel/initrd does not support iscsi"),
    ("dracut-initqueue", "Warning: failed to download live image after 3 attempts."),
];

/// Lines that look like failures and are none: single tries, steps that may fail, and reports of success.
const HARMLESS: &[(&str, &str)] = &[
    ("main-menu", "INFO: Menu item 'netcfg' succeeded but requested to be left unconfigured."),
    ("main-menu", "INFO: Menu item 'di-utils-shell' selected"),
    ("main-menu", "INFO: Modifying debconf priority limit from 'critical' to 'medium'"),
    ("netcfg", "WARNING **: Configuring 'x' failed with error code 1 is what main-menu would say"),
    ("anna", "WARNING **: package not-there doesn't exist (ignored)"),
    ("dracut-initqueue", "Warning: dracut-initqueue timeout - starting timeout scripts"),
    ("dracut-initqueue", "Warning: dracut-initqueue: timeout, still waiting for following initqueue hooks:"),
    ("dracut-initqueue", "Warning: failed to download live image: error 22"),
    ("anaconda", "Error code 1 running the kickstart script at line 110"),
    ("systemd-coredump", "CRIT systemd-coredump: Process 1234 (x) of user 0 dumped core."),
    ("kernel", "Warning: Deprecated Driver is detected: mptspi will not be maintained in a future release"),
    ("subiquity_log.2391", "finish: cmd-system-install: FAIL: curtin command system-install"),
    ("subiquity_event.2311", "finish: subiquity/Install/install: SUCCESS: "),
    (
        "subiquity_event.2311",
        "finish: subiquity/Late/run/command_8: SUCCESS: ipmitool raw ... 2>/dev/null || true",
    ),
    ("", "IP-Config: no response after 2 secs - giving up"),
    ("apt-install", "E: dracut: FATAL is a word in a package description"),
];

#[test]
fn lines_that_prove_a_failure_are_installer_failed() {
    for (program, text) in FAILURES {
        let mut lab = installing();
        log(&mut lab, "anna", "fetching the next component");
        log(&mut lab, program, text);
        lab.assert_stuck(5000, "installer_failed");
        let boots = lab.boots();
        let verdict = boots[0].verdict.as_ref().unwrap();
        assert!(verdict.cause.contains(text), "{verdict:?}");
        assert_eq!(verdict.confidence.name(), "certain");
        // The installer logs more, which changes nothing.
        log(&mut lab, "main-menu", "INFO: Modifying debconf priority limit from 'high' to 'medium'");
        assert_eq!((lab.boots().len(), lab.verdict(0)), (1, Some("installer_failed")), "{text}");
    }
}

#[test]
fn lines_that_only_look_like_failures_are_none() {
    let mut lab = installing();
    for (program, text) in HARMLESS {
        log(&mut lab, program, text);
        lab.pass(6000);
        assert_eq!((lab.result(), lab.verdict(0)), (BootResult::Booted, None), "{program}: {text}");
    }
    assert!(lab.causes.is_empty(), "{:?}", lab.causes);
}

#[test]
fn an_initrd_without_network_says_so() {
    for text in [
        "[   87.58] IP-Config: Auto-configuration of network failed",
        "[    3.10] IP-Config: No network devices available",
        "Unable to find a medium containing a live file system",
    ] {
        let mut lab = Lab::server();
        lab.boot_to_initrd();
        lab.pass(10_000);
        log(&mut lab, "", text);
        lab.assert_stuck(5000, "initrd_no_network");
        assert!(lab.boots()[0].verdict.as_ref().unwrap().cause.contains(text), "{text}");
    }
    // It has a network, and finds no file.
    let mut lab = installing();
    log(&mut lab, "live-boot", "Unable to find a live file system on the network");
    lab.assert_stuck(5000, "installer_failed");
}

#[test]
fn a_line_shows_that_a_system_with_a_fixed_address_runs() {
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(5000);
    log(&mut lab, "kernel", "virtio_net virtio0 ens3: renamed from eth0");
    lab.pass(5000);
    log(&mut lab, "anaconda", "INF main:Parsing of boot options done.");
    lab.pass(600_000);
    assert_eq!((lab.result(), lab.verdict(0)), (BootResult::Booted, None));
    // Late lines withdraw the verdict that rests on silence, and give the right one.
    let mut lab = Lab::server();
    lab.boot_to_initrd();
    lab.pass(61_000);
    assert_eq!(lab.verdict(0), Some("initrd_no_network"));
    log(&mut lab, "main-menu", "WARNING **: Menu item 'partman-base' failed.");
    lab.assert_stuck(5000, "installer_failed");
    assert_eq!(lab.boots().len(), 1);
}

#[test]
fn lines_of_no_boot_change_nothing() {
    let mut lab = Lab::server();
    log(&mut lab, "main-menu", "WARNING **: Menu item 'netcfg' failed.");
    assert!(lab.boots().is_empty());
    // The loader has no syslog: an older system of the machine logs while it restarts.
    lab.lease(UEFI, 4000);
    log(&mut lab, "main-menu", "WARNING **: Menu item 'netcfg' failed.");
    assert_eq!(lab.verdict(0), None);
    // An installed system that boots its disk months later.
    let mut lab = installing();
    lab.pass(13 * 3_600_000);
    log(&mut lab, "dracut-initqueue", "Warning: Could not boot.");
    lab.pass(10_000);
    assert_eq!((lab.result(), lab.verdict(0)), (BootResult::Booted, None));
}

#[test]
fn hostile_lines_are_bounded_and_escaped() {
    let mut lab = installing();
    let text = format!("Menu item '\u{1b}[2J{}\u{e4}' failed.", "x".repeat(5000));
    log(&mut lab, "main-menu", &text);
    lab.pass(6000);
    assert_eq!(lab.verdict(0), None, "the end of the line does not count");
    log(&mut lab, "main-menu", "Menu item '\u{1b}[2J\u{e4}' failed.\nstuck n1");
    lab.assert_stuck(5000, "installer_failed");
    let boots = lab.boots();
    let cause = &boots[0].verdict.as_ref().unwrap().cause;
    assert!(cause.is_ascii() && !cause.contains('\n') && !cause.contains('\u{1b}'), "{cause}");
}
