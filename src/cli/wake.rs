//! `lanboot wake`: makes the running server send Wake-on-LAN packets.

use std::process::ExitCode;

use super::ask_server::Server;
use super::config_file::Given;

/// Wakes these machines, each named by its MAC address or its name. The exit code is 0 if a packet was sent to every one,
/// 1 otherwise, and 2 if there is no configuration.
pub fn run(given: Given<'_>, machines: &[String]) -> ExitCode {
    match Server::given(given, "wake") {
        Ok(server) => server.post_each(
            machines,
            |machine| format!("/api/v1/machines/{machine}/wake"),
            |machine| format!("sent a Wake-on-LAN packet to {machine}"),
        ),
        Err(code) => code,
    }
}
