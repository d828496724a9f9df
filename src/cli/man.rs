//! `lanboot man`: prints the manual page of lanboot, or writes one page for each command into a folder.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_mangen::Man;

use super::output;

/// The section of the manual for programs of the administrator.
const SECTION: &str = "8";

/// Prints the page of the command line `command`, or writes the pages of all its commands into `folder`. The exit code is 1 if they cannot be written.
pub fn run(command: clap::Command, folder: Option<&Path>) -> ExitCode {
    // Build it, so that the subcommands know the global options and their full names.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = folder else {
        return match render(&command) {
            Ok(page) => output::print(&String::from_utf8_lossy(&page)),
            Err(error) => output::finish(Err(error)),
        };
    };
    match fs::create_dir_all(folder).and_then(|()| write_pages(&command, folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let folder = folder.display();
            output::print_error(format_args!("lanboot man: cannot write the pages into {folder}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes the page of `command` and those of its visible subcommands.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_pages(subcommand, folder)?;
    }
    fs::write(folder.join(file_name(command)), render(command)?)
}

/// The name of the page of `command`: `lanboot-leases-show.8`.
fn file_name(command: &clap::Command) -> String {
    format!("{}.{SECTION}", command.get_display_name().unwrap_or(command.get_name()))
}

/// The page of `command` in the language of `man`.
fn render(command: &clap::Command) -> io::Result<Vec<u8>> {
    let version = concat!("lanboot ", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    let man = Man::new(command.clone()).section(SECTION).source(version).manual("Boot diskless machines");
    man.render(&mut page)?;
    Ok(page)
}
