//! The command line: parses the arguments and runs one command per file or folder. It must not contain logic that the
//! server needs.

mod ask_server;
mod capture;
mod check;
mod completions;
pub mod config_file;
pub mod demo;
mod doctor;
mod images;
mod import;
mod includes;
mod journal;
mod leases;
mod log;
mod log_format;
mod machines;
mod man;
mod once;
pub mod output;
mod probe;
mod rehearse;
mod reload;
mod schema;
mod screen_code;
mod serve;
mod signals;
mod status;
mod table;
mod token;
mod wake;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::config_file::Given;
use crate::config::LogLevel;
use crate::store::LeaseStorage;

/// Boots diskless machines over the LAN: DHCP, BOOTP, TFTP and HTTP from one config.yaml.
#[derive(Debug, Parser)]
#[command(name = "lanboot", version, max_term_width = 80)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State folder [default: `state` of the configuration]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Log level, instead of the one in the configuration: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level)]
    log: Option<LogLevel>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the servers
    Serve {
        /// The user to become when root starts the server [default: lanboot if that user can read `images` and the
        /// configuration, else the owner of the configuration's folder]
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Keep leases in memory only, to measure the cost of the disk. They are lost at exit
        #[arg(long, hide = true)]
        leases_in_memory: bool,
    },
    /// Check the configuration, then make the running server use it
    Reload,
    /// Show what the running server does: interfaces, pools in use, machines that boot now, last failures
    Status {
        /// Print the JSON object of the API instead of text
        #[arg(long)]
        json: bool,
    },
    /// List every machine that was seen or is in the configuration: name, MAC address, address, firmware, last boot
    Machines {
        /// Print the JSON array of the API instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show the last boots of a machine step by step, and why they stopped
    Why(why::Arguments),
    /// Write the packets of a machine's last boot as a pcap file, for tcpdump and Wireshark
    Capture(capture::Arguments),
    /// Start a target at the next boot of a machine only
    Once(once::Arguments),
    /// Start machines with Wake-on-LAN packets
    Wake {
        /// Their MAC addresses, or their names in `machines`
        #[arg(required = true, value_name = "MAC|NAME")]
        machines: Vec<String>,
    },
    /// Show every problem in the configuration, with its position, and of this computer: interfaces, ports, folders,
    /// lease database, firewall
    Check {
        /// Also rehearse it: report each client that would not boot
        #[arg(long)]
        rehearse: bool,
        /// Leave this computer out
        #[arg(long)]
        file_only: bool,
        /// Print a JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Look for everything that would keep machines from booting here: interfaces, ports, firewall, other DHCP servers, boot
    /// files; each finding has the command that fixes it
    Doctor {
        /// Print a JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show what each machine would boot with each kind of firmware, according to this configuration; nothing is sent
    Rehearse {
        /// Only this machine: its name, MAC address or IP address
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Print a JSON array of objects instead of text
        #[arg(long)]
        json: bool,
    },
    /// Act as a machine that boots from the network, and show each step from DISCOVER to the last byte of the boot
    /// file
    Probe(Box<probe::Arguments>),
    /// List leases, show one or release its address, with or without a running server; or import another server's
    /// leases
    Leases {
        /// Print JSON instead of text: an array of objects, or one object for import
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        filter: leases::Filter,
        #[command(subcommand)]
        command: Option<leases::Command>,
    },
    /// Print another DHCP server's configuration as config.yaml; standard error lists what was not taken
    Import {
        /// The server that the files are for
        server: import::Server,
        /// Its configuration files; `-` is standard input. Files that they include are read too
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
    },
    /// List, add and verify the files of the images folder
    Images {
        /// Print a JSON array of objects instead of text
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: Option<images::Command>,
    },
    /// Print the JSON schema of config.yaml, for editors
    Schema {
        /// Print the reference of all keys (docs/configuration.md) instead
        #[arg(long)]
        markdown: bool,
    },
    /// Boot five simulated machines of different kinds from a server on this computer's loopback
    Demo {
        /// Boot a real machine (QEMU) on a private network instead
        #[arg(long)]
        vm: bool,
    },
    /// Print the token for changes through the web listener; it is created when it is first printed
    Token {
        /// Replace the token; the old one is invalid immediately
        #[arg(long)]
        rotate: bool,
    },
    /// Print the script that completes lanboot's commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one page for each command into a folder
    Man {
        /// The folder; it is created if it is missing
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// The definition of the command line, from which help, completions and manual pages are made.
fn command_line() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process was started with. Without a command it prints the help, because a server answers
/// on every interface and must only start on request.
///
/// Exit codes: 0 success, 1 failure, 2 wrong usage or configuration, 3 the command could not start (a port, an
/// interface or a privilege is missing).
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let given = Given { file: arguments.config.as_deref(), state: arguments.state.as_deref() };
    match arguments.command {
        Command::Serve { user, leases_in_memory } => {
            let storage = if leases_in_memory { LeaseStorage::InMemory } else { LeaseStorage::OnDisk };
            serve::run(given, arguments.log, storage, user.as_deref())
        }
        Command::Reload => reload::run(given),
        Command::Status { json } => status::run(given, json),
        Command::Machines { json } => machines::run(given, json),
        Command::Why(arguments) => why::run(given, &arguments),
        Command::Capture(arguments) => capture::run(given, &arguments),
        Command::Once(arguments) => once::run(given, &arguments),
        Command::Wake { machines } => wake::run(given, &machines),
        Command::Check { rehearse, file_only, json } => {
            check::run(given, check::Options { rehearse, file_only, json })
        }
        Command::Doctor { json } => doctor::run(given, json),
        Command::Rehearse { name, json } => rehearse::run(given, name.as_deref(), json),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Leases { json, filter, command } => leases::run(given, command, filter, json),
        Command::Import { server, files } => import::run(server, &files),
        Command::Images { json, command } => images::run(given, command, json),
        Command::Schema { markdown } => schema::run(markdown),
        Command::Demo { vm } => demo::run(vm),
        Command::Token { rotate } => token::run(given, rotate),
        Command::Completions { shell } => completions::run(command_line(), shell),
        Command::Man { folder } => man::run(command_line(), folder.as_deref()),
    }
}

fn level(text: &str) -> Result<LogLevel, &'static str> {
    match text {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        _ => Err("expected error, warn, info, debug or trace"),
    }
}
