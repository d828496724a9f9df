//! `lanboot demo`: boots one client of every firmware kind from the real server on this computer's loopback. It needs
//! no root and no other programs, and sends nothing to the network.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use crate::cli::output;
use crate::config::{self, Config};
use crate::net::StartError;
use crate::probe::Kind;
use crate::server::Server;
use crate::store::LeaseStorage;
use crate::types::MacAddr;

use client::{Client, Outcome};
use folder::Folder;

mod client;
mod escape;
mod folder;
mod needs;
pub mod network;
mod table;
mod vm;

/// The machines of the demo, in boot order. The address of the last one is reserved in `config.yaml.in`.
const CLIENTS: [Client; 5] = [
    Client { kind: Kind::BiosPxe, mac: mac(1), file: "undionly.kpxe" },
    Client { kind: Kind::UefiX64, mac: mac(2), file: "snponly.efi" },
    Client { kind: Kind::UefiArm64, mac: mac(3), file: "grubnetaa64.efi" },
    Client { kind: Kind::Ipxe, mac: mac(4), file: "boot.ipxe" },
    Client { kind: Kind::Bootp, mac: mac(5), file: "undionly.kpxe" },
];

const fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0x77, 0, last])
}

/// Runs the command. The exit code is 0 if every client booted, 1 if one did not, and 3 if the server could not
/// start.
pub fn run(vm: bool) -> ExitCode {
    if vm {
        return vm::run();
    }
    let folder = match Folder::new() {
        Ok(folder) => folder,
        Err(error) => {
            output::print_error(format_args!(
                "lanboot demo: cannot make a folder and find free UDP ports for it: {error}"
            ));
            return ExitCode::from(3);
        }
    };
    let running = match Running::start(&folder.config()) {
        Ok(running) => running,
        Err(why) => {
            output::print_error(format_args!("lanboot demo: the server did not start: {why}"));
            return ExitCode::from(3);
        }
    };
    let stdout = io::stdout();
    let colour = output::is_coloured(&stdout);
    let booted = boot_all(&folder, colour, &mut stdout.lock());
    match booted.and_then(|all_booted| running.stop().map(|()| all_booted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::print_error(format_args!("lanboot demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Boots the clients one after the other, and prints each step and then the table. Returns whether all of them
/// booted.
fn boot_all(folder: &Folder, colour: bool, out: &mut impl Write) -> io::Result<bool> {
    writeln!(
        out,
        "A lanboot server and {} machines on this computer's loopback: DHCP on port {}, TFTP on port {}.",
        CLIENTS.len(),
        folder.ports.dhcp,
        folder.ports.tftp
    )?;
    let mut rows = Vec::new();
    for (client, seed) in CLIENTS.iter().zip(u64::from(std::process::id())..) {
        writeln!(out, "\n{}, {}", client.kind.profile().name, client.mac)?;
        let outcome = client::boot(client, folder.ports, seed, out)?;
        let verdict = verify(client, &outcome, folder)?;
        if verdict.is_ok() {
            writeln!(out, "{:>9.3} s  SHA-256 matches the file on disk", outcome.took.as_secs_f64())?;
        }
        rows.push(table::row(client, &outcome, &verdict));
    }
    writeln!(out)?;
    table::write(&rows, colour, out)?;
    Ok(rows.iter().all(|row| row.booted))
}

/// Whether a client got its boot file unchanged, or the reason why not.
fn verify(client: &Client, outcome: &Outcome, folder: &Folder) -> io::Result<Result<(), String>> {
    let digest = match &outcome.content {
        Some(Ok(digest)) => digest,
        Some(Err(why)) => return Ok(Err(why.clone())),
        None => return Ok(Err("its boot did not end".to_owned())),
    };
    if outcome.file.as_deref() != Some(client.file) {
        let got = outcome.file.as_deref().unwrap_or("nothing");
        return Ok(Err(format!("it got {got} instead of {}", client.file)));
    }
    if *digest != folder.digest(client.file)? {
        return Ok(Err(format!("what it received is not {} (SHA-256 differs)", client.file)));
    }
    Ok(Ok(()))
}

/// The server, in a thread with its own runtime.
struct Running {
    thread: thread::JoinHandle<io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Running {
    /// Starts the server with this configuration and waits until its sockets are bound. The error is a message for
    /// people.
    ///
    /// No log is initialised, so that log lines do not mix with the steps.
    fn start(config: &str) -> Result<Running, String> {
        let config = config::load(config).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("; ")
        })?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, ready) = mpsc::channel();
        let thread = thread::spawn(move || serve(&config, stopped, &started));
        match ready.recv() {
            Ok(Ok(())) => Ok(Running { thread, stop }),
            Ok(Err(why)) => Err(why.to_string()),
            Err(mpsc::RecvError) => Err(match thread.join() {
                Ok(Err(error)) => error.to_string(),
                _ => "its thread ended".to_owned(),
            }),
        }
    }

    /// Stops the server and returns its result.
    fn stop(self) -> io::Result<()> {
        // Sending fails if the server has already ended; the join then returns the reason.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the server's thread panicked")))
    }
}

/// Serves until `stopped` completes. Reports once whether the server started.
fn serve(
    config: &Config,
    stopped: oneshot::Receiver<()>,
    started: &mpsc::Sender<Result<(), StartError>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let server = match Server::bind(config, LeaseStorage::OnDisk) {
            Ok(server) => server,
            Err(error) => {
                let _ = started.send(Err(error));
                return Ok(());
            }
        };
        let _ = started.send(Ok(()));
        Box::pin(server.run(async { drop(stopped.await) }, std::future::ready(()))).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_file_unharmed_counts_as_booted() {
        let folder = Folder::new().unwrap();
        let [_, client, ..] = &CLIENTS;
        let outcome = |file: &str, content| Outcome {
            file: Some(file.to_owned()),
            content: Some(content),
            ..Outcome::default()
        };
        let judged = |outcome| verify(client, &outcome, &folder).unwrap();
        let digest = folder.digest("snponly.efi").unwrap();
        assert_eq!(judged(outcome("snponly.efi", Ok(digest))), Ok(()));
        let harmed = "what it received is not snponly.efi (SHA-256 differs)";
        assert_eq!(judged(outcome("snponly.efi", Ok([0; 32]))), Err(harmed.to_owned()));
        let other = "it got undionly.kpxe instead of snponly.efi";
        assert_eq!(judged(outcome("undionly.kpxe", Ok(digest))), Err(other.to_owned()));
        assert_eq!(judged(outcome("snponly.efi", Err("no answer".to_owned()))), Err("no answer".to_owned()));
    }

    #[test]
    fn a_server_that_cannot_start_says_why() {
        let folder = Folder::new().unwrap();
        std::fs::remove_dir_all(folder.images()).unwrap();
        let why = Running::start(&folder.config()).err().expect("there is no folder to serve");
        assert!(why.contains("boot-images"), "{why}");
        let why = Running::start("interfaces: [lo]\nimage: x\n").err().expect("no such key");
        assert!(why.contains("image"), "{why}");
    }
}
