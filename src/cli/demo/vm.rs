//! `lanboot demo --vm`: boots a real machine (QEMU) from this server, in a private network on this computer.
//!
//! Nothing else is touched: the network is a new namespace, and the server in it uses a configuration and boot files
//! in a temporary folder.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::super::output;
use super::escape::Escape;
use super::network::{self, Firmware, NETWORK, Network, Next, OVMF, Running, SEABIOS, SNPONLY};

/// Hardware address of the machine: QEMU's prefix, locally administered.
const MAC: &str = "52:54:00:77:00:01";

/// Last line of the boot script. Once the console shows it, the machine has booted.
const LAST_LINE: &str = "Nothing is left to do: the demonstration ends here.";

/// Maximum time for a boot. Most computers need 15 s, a slow one a minute.
const BOOT_WAIT: Duration = Duration::from_secs(180);

/// Runs the command. The exit code is 0 if the machine booted, 1 if it did not, and 3 if QEMU or privileges are
/// missing.
pub(super) fn run() -> ExitCode {
    let firmware =
        if OVMF.iter().all(|need| network::present(need.what)) { Firmware::Ovmf } else { Firmware::SeaBios };
    let needs = if firmware == Firmware::Ovmf { OVMF } else { SEABIOS };
    let obstacles = network::obstacles(&[NETWORK, needs].concat(), "lanboot demo --vm");
    if !obstacles.is_empty() {
        output::print_error(format_args!("lanboot demo --vm cannot run here:"));
        for line in obstacles {
            output::print_error(format_args!("  {line}"));
        }
        return ExitCode::from(3);
    }
    match boot(firmware) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::print_error(format_args!("lanboot demo --vm: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Creates the network, starts the server and the machine, and shows their output until the boot is over.
fn boot(firmware: Firmware) -> io::Result<bool> {
    let stop = interrupted()?;
    let folder = tempfile::Builder::new().prefix("lanboot-demo-").tempdir()?;
    let config = boot_folder(folder.path(), firmware)?;
    let network = Network::new("192.168.77.1/24")?;
    let program = env::current_exe()?;
    say(&format!(
        "A machine with {} and no disk, on a private network. It takes 15 to 60 seconds; Ctrl-C ends it.\n",
        if firmware == Firmware::Ovmf { "UEFI firmware (OVMF)" } else { "a BIOS (SeaBIOS) and iPXE" }
    ));
    let mut server = network::serve(&network, &[program.as_os_str()], &config)?;
    let mut machine = network::machine(&network, firmware, MAC, folder.path())?;
    let began = Instant::now();
    let booted = watch(&mut machine, &mut server, &stop, began + BOOT_WAIT);
    match booted {
        Ending::Booted => {
            say(&format!("\nBooted in {:.0} s. The network is gone again.", began.elapsed().as_secs_f64()));
        }
        Ending::Interrupted => say("\nInterrupted; the machine and the network are gone again."),
        Ending::Failed(why) => say(&format!("\nThe machine did not boot: {why}")),
    }
    Ok(matches!(booted, Ending::Booted))
}

/// The end of the demonstration.
enum Ending {
    Booted,
    Interrupted,
    Failed(&'static str),
}

/// Shows the output of the machine and the server line by line, until the last line of the boot script, Ctrl-C, or
/// `until`.
fn watch(machine: &mut Running, server: &mut Running, stop: &AtomicBool, until: Instant) -> Ending {
    let (mut console, mut log) = (Screen::default(), Screen::default());
    loop {
        let output = machine.next(Duration::from_millis(100));
        while let Next::Text(text) = server.next(Duration::ZERO) {
            for line in log.feed(&text) {
                say(&format!("server  | {line}"));
            }
        }
        if let Next::Text(text) = &output {
            for line in console.feed(text) {
                say(&format!("machine | {line}"));
                if line.contains(LAST_LINE) {
                    return Ending::Booted;
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Ending::Interrupted;
        }
        if output == Next::Closed {
            return Ending::Failed("QEMU ended; its last lines are above.");
        }
        if server.ended().is_some() {
            return Ending::Failed("the server ended; its last lines are above.");
        }
        if Instant::now() > until {
            return Ending::Failed("it took too long; the console above shows how far it came.");
        }
    }
}

/// Writes the boot files and `config.yaml` of the demonstration to `folder`, and returns the path of `config.yaml`.
fn boot_folder(folder: &Path, firmware: Firmware) -> io::Result<PathBuf> {
    let images = folder.join("boot-images");
    fs::create_dir(&images)?;
    let loaders = match firmware {
        Firmware::SeaBios => "",
        Firmware::Ovmf | Firmware::OvmfHttp => {
            fs::copy(SNPONLY, images.join("snponly.efi"))?;
            "arch: {uefi-x64: snponly.efi}, "
        }
    };
    // The sleep keeps the last screen visible until the machine is switched off, because Debian's iPXE has no
    // poweroff command.
    let script = format!(
        "#!ipxe\necho\necho Hello from lanboot. This machine has no disk: its address ${{net0/ip}},\n\
         echo its boot loader and this text came over the network.\necho {LAST_LINE}\nsleep 600\n"
    );
    fs::write(images.join("boot.ipxe"), script)?;
    let config = folder.join("config.yaml");
    let text = format!(
        "interfaces: [{bridge}]\nstate: {state}\nimages: {images}\ndhcp:\n  mode: server\n  subnets:\n    \
         - network: 192.168.77.0/24\n      pool: 192.168.77.50-192.168.77.200\n      lease: 10m\n\
         boot: {{{loaders}ipxe: boot.ipxe}}\nhttp: off\nmetrics: off\n",
        bridge = network::BRIDGE,
        state = folder.join("state").display(),
        images = images.display(),
    );
    fs::write(&config, text)?;
    Ok(config)
}

/// A flag that is set by Ctrl-C, SIGTERM or a closed terminal, so that drops still run and no namespace remains.
fn interrupted() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        set.store(true, Ordering::Relaxed);
    });
    Ok(flag)
}

fn say(line: &str) {
    // If the terminal is closed, the network must still be removed, so errors are ignored.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Converts the output of a serial console to plain lines. It drops cursor movements and colours, because firmware
/// clears the whole screen, and a backspace removes a character.
#[derive(Default)]
struct Screen {
    line: String,
    escape: Escape,
}

impl Screen {
    /// The lines that `text` completes, without blank ones.
    fn feed(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for character in text.chars() {
            match character {
                _ if !self.escape.is_text(character) => {}
                '\x08' => drop(self.line.pop()),
                '\n' => {
                    let line = std::mem::take(&mut self.line);
                    if !line.trim().is_empty() {
                        lines.push(line.trim_end().to_string());
                    }
                }
                _ if character.is_control() => {}
                _ => self.line.push(character),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_becomes_plain_lines() {
        let mut screen = Screen::default();
        assert_eq!(screen.feed("\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n\r\n\x1b[0;1miP"), ["SeaBIOS"]);
        assert_eq!(screen.feed("XE\x1b["), [""; 0]);
        assert_eq!(screen.feed("0m on\x08 \x08\x08net\n"), ["iPXE net"]);
    }

    #[test]
    fn the_configuration_names_only_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let config = boot_folder(folder.path(), Firmware::SeaBios).unwrap();
        let text = fs::read_to_string(config).unwrap();
        assert!(!text.contains("snponly"), "{text}");
        assert!(folder.path().join("boot-images/boot.ipxe").exists());
    }
}
