//! `lanboot why`: the last boots of a machine step by step, each with its verdict.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::ask_server::{Answer, Server, ask, segment};
use super::config_file::{Given, state_folder};
use super::output;
use super::screen_code;
use super::table::{safe, shown};

/// Pause between two looks at a boot that is followed.
const PAUSE: Duration = Duration::from_secs(1);

/// The arguments of the command.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The machine's MAC address, its name in `machines`, its IP address, or a code or message on its screen, such as PXE-E18
    #[arg(value_name = "MAC|NAME|IP|CODE")]
    machine: String,
    /// Show new events as they come, until interrupted
    #[arg(long, conflicts_with = "json")]
    follow: bool,
    /// Print the JSON object of the API instead of text
    #[arg(long)]
    json: bool,
    /// Show this number of boots
    #[arg(long, value_name = "N", default_value_t = 3)]
    last: usize,
}

/// Runs the command. The exit code is 0 for success, and 1 if the machine is unknown or no server runs.
pub fn run(given: Given<'_>, arguments: &Arguments) -> ExitCode {
    if let Some(code) = screen_code::explain(given, &arguments.machine, arguments.json) {
        return code;
    }
    let server = match Server::given(given, "why") {
        Ok(server) => server,
        Err(code) => return code,
    };
    let machine = match by_address(&server, &arguments.machine) {
        Ok(machine) => machine,
        Err(code) => return code,
    };
    let path = format!("/api/v1/machines/{}", segment(&machine));
    if arguments.json {
        return print_json(given, &path);
    }
    let mut seen = Shown::default();
    loop {
        let details: Value = match server.read(&path) {
            Ok(details) => details,
            Err(code) => return code,
        };
        let text = seen.text(&details, if seen.is_first { arguments.last } else { 1 });
        let printed = output::print(&text);
        if !arguments.follow || printed != ExitCode::SUCCESS {
            return printed;
        }
        sleep(PAUSE);
    }
}

/// Prints the answer, or an object with the error.
fn print_json(given: Given<'_>, path: &str) -> ExitCode {
    let answer = state_folder(given).map_err(|error| error.to_string());
    let answer = answer.and_then(|state| ask(&state, Method::GET, path, None));
    let error = match answer {
        Ok(Answer::Done(body)) => {
            return output::print(&format!("{}\n", String::from_utf8_lossy(&body).trim_end()));
        }
        Ok(Answer::Refused(why)) | Err(why) => why,
        Ok(Answer::NoServer) => "no server runs".to_owned(),
    };
    output::print(&format!("{}\n", serde_json::json!({ "error": error })));
    ExitCode::FAILURE
}

/// The MAC of the machine with the IP address `text`; `text` itself if it is no address.
pub(super) fn by_address(server: &Server<'_>, text: &str) -> Result<String, ExitCode> {
    if text.parse::<std::net::IpAddr>().is_err() {
        return Ok(text.to_owned());
    }
    let machines: Vec<super::machines::MachineView> = server.read("/api/v1/machines")?;
    let found = machines.into_iter().find(|machine| machine.address.as_deref() == Some(text));
    let mac = found.and_then(|machine| machine.mac);
    mac.ok_or_else(|| {
        server.fail(&format!("no machine has the address {text}: `lanboot machines` lists them"))
    })
}

/// The part of the journeys that was printed.
#[derive(Debug)]
struct Shown {
    is_first: bool,
    boot: String,
    events: usize,
    verdict: Option<String>,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown { is_first: true, boot: String::new(), events: 0, verdict: None }
    }
}

impl Shown {
    /// The text of the machine's last boots, or what is new since the last call.
    fn text(&mut self, details: &Value, last: usize) -> String {
        let none = Vec::new();
        let boots = details["boots"].as_array().unwrap_or(&none);
        let mut text = String::new();
        if self.is_first {
            let name = details["name"].as_str().map(|name| format!(" {}", safe(name))).unwrap_or_default();
            text = format!("{}{name}\n", safe(details["mac"].as_str().unwrap_or("-")));
            if boots.is_empty() {
                text.push_str("  no boots are known\n");
            }
        }
        for boot in boots.iter().take(last.max(1)).rev() {
            self.boot_text(boot, &mut text);
        }
        let state = details.get("verdict").filter(|verdict| verdict.is_object());
        let id = state.and_then(|verdict| verdict["id"].as_str()).map(str::to_owned);
        if id != self.verdict
            && state.is_some_and(|_| boots.first().is_none_or(|boot| boot["verdict"].is_null()))
        {
            verdict_text(state, &mut text);
        }
        self.verdict = id;
        self.is_first = false;
        text
    }

    fn boot_text(&mut self, boot: &Value, text: &mut String) {
        let id = boot["id"].as_str().unwrap_or_default();
        let none = Vec::new();
        let events = boot["events"].as_array().unwrap_or(&none);
        let result = boot["result"].as_str().unwrap_or_default();
        if self.boot != id {
            (self.boot, self.events) = (id.to_owned(), 0);
            let (started, stage) = (&boot["started"], &boot["stage"]);
            let line = format!(
                "boot of {}: {} at {}\n",
                started.as_str().unwrap_or_default(),
                safe(result),
                safe(stage.as_str().unwrap_or_default())
            );
            text.push_str(&line);
        }
        for event in events.iter().skip(self.events) {
            let at = event["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
            text.push_str(&format!("  {at} {}\n", shown(event["message"].as_str().unwrap_or_default())));
        }
        self.events = events.len();
        verdict_text(boot.get("verdict"), text);
    }
}

fn verdict_text(verdict: Option<&Value>, text: &mut String) {
    let Some(verdict) = verdict.filter(|verdict| verdict.is_object()) else { return };
    let field = |name: &str| shown(verdict[name].as_str().unwrap_or_default());
    text.push_str(&format!("  why: {} ({}, {})\n", field("cause"), field("id"), field("confidence")));
    text.push_str(&format!("  do:  {}\n", field("advice")));
    let screen: Vec<&str> =
        verdict["screen"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !screen.is_empty() {
        text.push_str(&format!("  on its screen: {}\n", shown(&screen.join(", "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_boot_is_shown_with_its_verdict() {
        let details: Value = serde_json::from_str(
            r#"{"mac": "52:54:00:12:34:56", "name": "n1", "verdict": {"id": "file_missing"}, "boots": [{"id": "1-x",
                "started": "2026-11-30T10:00:00.000Z", "stage": "firmware", "result": "stuck", "verdict": {"id":
                "file_missing", "cause": "a\u001b is missing", "advice": "put it there", "screen": ["PXE-E23"],
                "confidence": "certain"}, "events": [{"at": "2026-11-30T10:00:00.000Z", "message": "DHCPDISCOVER"}]}]}"#,
        )
        .unwrap();
        let mut shown = Shown::default();
        let text = shown.text(&details, 3);
        assert!(
            text.contains("  10:00:00.000 DHCPDISCOVER\n  why: a\\x1b is missing (file_missing, certain)\n"),
            "{text}"
        );
        assert!(text.ends_with("  do:  put it there\n  on its screen: PXE-E23\n"), "{text}");
    }

    #[test]
    fn s_01_texts_of_clients_are_escaped_once() {
        // The server has escaped them. Another program may have written the last text.
        let boot = serde_json::json!({"id": "1-x", "events": [
            {"at": "2026-11-30T10:00:00.000Z", "message": r"sent a\\b\x1b… to 10.0.0.1"},
            {"at": "2026-11-30T10:00:01.000Z", "message": "\u{1b}[2J\u{202e}"},
        ]});
        let text =
            Shown::default().text(&serde_json::json!({"mac": "02:00:00:00:00:01", "boots": [boot]}), 1);
        assert!(text.contains(r" sent a\\b\x1b… to 10.0.0.1"), "{text}");
        assert!(text.contains(r" \x1b[2J\u{202e}"), "{text}");
    }
}
