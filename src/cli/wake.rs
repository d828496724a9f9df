//! `lanboot wake`: makes the running server send Wake-on-LAN packets.

use std::process::ExitCode;

use serde::Deserialize;

use super::ask_server::Server;
use super::config_file::Given;
use super::table::safe;

/// Wakes these machines, each named by its MAC address or its name. The exit code is 0 if a packet was sent to every one,
/// 1 otherwise, and 2 if there is no configuration.
pub fn run(given: Given<'_>, machines: &[String]) -> ExitCode {
    match Server::given(given, "wake") {
        Ok(server) => server.post_each(machines, |machine| format!("/api/v1/machines/{machine}/wake"), done),
        Err(code) => code,
    }
}

/// The server's answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Woken {
    interfaces: Vec<String>,
}

/// The line for a machine that packets were sent to.
fn done(machine: &str, body: &[u8]) -> String {
    let Woken { interfaces } = serde_json::from_slice(body).unwrap_or_default();
    let on =
        if interfaces.is_empty() { String::new() } else { format!(" on {}", safe(&interfaces.join(" "))) };
    format!("sent a Wake-on-LAN packet to {machine}{on}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interfaces_are_named() {
        let line = done("node1", br#"{"mac": "52:54:00:12:34:56", "interfaces": ["eth1", "eth2"]}"#);
        assert_eq!(line, "sent a Wake-on-LAN packet to node1 on eth1 eth2");
        assert_eq!(done("node1", b"{}"), "sent a Wake-on-LAN packet to node1");
    }
}
