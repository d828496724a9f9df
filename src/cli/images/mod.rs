//! `lanboot images`: lists the files of the images folder, adds files to it, verifies that they are unchanged, and
//! builds and removes the root file systems of machines without a disk.

mod add;
mod arguments;
mod build;
mod list;
mod output;
mod packages;
mod remove;
mod verify;

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::config_file::{Given, load_or_exit_code};
use crate::cli::output::print_error;
use crate::images::add::sets::SETS;

use arguments::{AddArguments, BuildArguments, RemoveArguments};
use output::Failure;

/// The subcommands of `lanboot images`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every boot file: its kind, clients, signers and origin (default)
    List,
    /// Add boot files from the distribution's signed packages, a local file, or a download
    #[command(after_help = sets_help())]
    Add(AddArguments),
    /// Compare every added file with its recorded checksum
    Verify,
    /// Build the root file system of machines without a disk, from a folder or a tar archive
    #[command(after_help = BUILD_HELP)]
    Build(BuildArguments),
    /// Remove builds of root file systems
    Remove(RemoveArguments),
}

const BUILD_HELP: &str = "\
The system needs a kernel and, in its initrd, live-boot or dracut's livenet. Three ways to make one:
  mmdebstrap --variant=apt --include=linux-image-amd64,live-boot \\
    --include=live-boot-initramfs-tools,systemd-sysv,udev trixie - |
    lanboot images build compute --from -
  docker export CONTAINER | lanboot images build compute --from -
  lanboot images build compute --from /srv/chroots/compute

The files of the build are in boot-images/NAME/ afterwards. Machines that run from an earlier build keep it. mksquashfs \
of squashfs-tools packs the system. Root is needed only to read a folder whose files belong to others.";

fn sets_help() -> String {
    let lines = SETS.iter().map(|set| format!("  {:<18}{}\n", set.name, set.about));
    format!(
        "Names:\n{}\nThe packages are those of this system's own package servers, checked against their signatures. \
         Nothing is installed, and root is needed only where boot-images/ belongs to root.",
        lines.collect::<String>()
    )
}

/// Runs the command. The exit code is 0 for success, 1 for a failure (a file differs, a download failed), and 2 for
/// wrong usage or configuration.
pub fn run(given: Given<'_>, command: Option<Command>, json: bool) -> ExitCode {
    let config = match load_or_exit_code(given) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let done = match command.unwrap_or(Command::List) {
        Command::Add(arguments) => add::run(&config.images, &arguments, json),
        Command::Build(arguments) => build::run(&config.images, &arguments, json),
        // `add` and `build` create the folder.
        _ if is_missing(&config.images) => Err(Failure::Message(format!(
            "there is no folder {}: `lanboot images add ipxe` makes it, or say in `images` where it is",
            config.images.display()
        ))),
        Command::List => list::run(&config, json),
        Command::Verify => verify::run(&config.images, json),
        Command::Remove(arguments) => remove::run(&config, &arguments, json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Message(why)) => {
            print_error(format_args!("lanboot images: {why}"));
            ExitCode::FAILURE
        }
        Err(Failure::Usage(why)) => {
            print_error(format_args!("lanboot images: {why}"));
            ExitCode::from(2)
        }
        Err(Failure::AlreadyReported) => ExitCode::FAILURE,
        // A reader such as `head` has closed the pipe.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            print_error(format_args!("lanboot images: cannot write the output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn is_missing(folder: &Path) -> bool {
    folder.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
