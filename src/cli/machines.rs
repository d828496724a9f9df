//! `lanboot machines`: lists every machine that the running server has seen or that is in the configuration.

use std::process::ExitCode;
use std::time::SystemTime;

use serde::Deserialize;

use super::ask_server::Server;
use super::config_file::Given;
use super::output;
use super::table::{ago, cell, safe, shown, table, wrapped};

/// The route that the list comes from.
const PATH: &str = "/api/v1/machines";

/// The width of a verdict, which is indented by two columns of 80.
const VERDICT_WIDTH: usize = 78;

/// A machine as the API describes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MachineView {
    pub(super) mac: Option<String>,
    pub(super) name: Option<String>,
    pub(super) address: Option<String>,
    arch: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) result: Option<String>,
    pub(super) verdict: Option<Verdict>,
    /// In UTC, as in RFC 3339.
    last_boot: Option<String>,
    hardware: Option<Hardware>,
}

/// Facts that the machine's iPXE reported last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hardware {
    memory_mib: Option<u64>,
    manufacturer: Option<String>,
    product: Option<String>,
    serial: Option<String>,
}

impl Hardware {
    /// The facts in one line, such as `2048 MiB, Dell Inc. PowerEdge R640, serial 7XK2Q13`; `None` if none is known.
    fn line(&self) -> Option<String> {
        let memory = self.memory_mib.map(|mib| format!("{mib} MiB"));
        let model: Vec<String> =
            [&self.manufacturer, &self.product].into_iter().flatten().map(|text| shown(text)).collect();
        let model = Some(model.join(" ")).filter(|model| !model.is_empty());
        let serial = self.serial.as_deref().map(|serial| format!("serial {}", shown(serial)));
        let parts: Vec<String> = [memory, model, serial].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The cause of a failed boot: a text, or an object with the texts of its parts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Verdict {
    Text(String),
    Parts { cause: Option<String>, advice: Option<String> },
}

impl Verdict {
    /// The cause and what to do, in one line.
    pub(super) fn line(&self) -> String {
        match self {
            Verdict::Text(text) => shown(text),
            Verdict::Parts { cause, advice } => {
                let parts: Vec<String> =
                    [cause, advice].into_iter().flatten().map(|part| shown(part)).collect();
                parts.join("; ")
            }
        }
    }
}

/// Runs the command. The exit code is 0 for success, 1 if no server answers, and 2 if there is no configuration.
pub fn run(given: Given<'_>, json: bool) -> ExitCode {
    let server = match Server::given(given, "machines") {
        Ok(server) => server,
        Err(code) => return code,
    };
    if json {
        return server.print_json(PATH);
    }
    match server.read::<Vec<MachineView>>(PATH) {
        Ok(machines) => output::print(&text(&machines, SystemTime::now())),
        Err(code) => code,
    }
}

/// The list as a table. Reported facts and a verdict stand under their machine.
fn text(machines: &[MachineView], now: SystemTime) -> String {
    if machines.is_empty() {
        return "no machines: none is in the configuration, and none was seen since the server started\n"
            .to_owned();
    }
    let rows: Vec<[String; 5]> = machines
        .iter()
        .map(|machine| {
            let last_boot = machine.last_boot.as_deref().map_or_else(|| "-".to_owned(), |at| ago(at, now));
            [
                cell(machine.name.as_deref()),
                cell(machine.mac.as_deref()),
                cell(machine.address.as_deref()),
                cell(machine.arch.as_deref()),
                match &machine.stage {
                    Some(stage) => format!("{last_boot}, {}", safe(stage)),
                    None => last_boot,
                },
            ]
        })
        .collect();
    let mut lines = table(["NAME", "MAC", "ADDRESS", "FIRMWARE", "LAST BOOT"], &rows).into_iter();
    let mut text = lines.next().unwrap_or_default() + "\n";
    for (line, machine) in lines.zip(machines) {
        text.push_str(&line);
        text.push('\n');
        if let Some(facts) = machine.hardware.as_ref().and_then(Hardware::line) {
            text.push_str(&format!("  {facts}\n"));
        }
        if let Some(verdict) = &machine.verdict {
            wrapped(&verdict.line(), VERDICT_WIDTH)
                .iter()
                .for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    let s = if machines.len() == 1 { "" } else { "s" };
    text + &format!("{} machine{s}\n", machines.len())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn list(json: &str) -> String {
        let now = UNIX_EPOCH + Duration::from_secs(7200);
        text(&serde_json::from_str::<Vec<MachineView>>(json).unwrap(), now)
    }

    #[test]
    fn machines_are_a_table_of_80_columns() {
        let text = list(
            r#"[{"mac": "52:54:00:12:34:56", "name": "a-name-of-20-letters", "address": "192.168.177.110",
                 "arch": "uefi-x64-http", "stage": null, "result": null, "verdict": null,
                 "last_boot": "1970-01-01T00:30:00.000Z", "later": 1},
                {"mac": "52:54:00:12:34:57", "name": null, "address": null, "arch": null, "last_boot": null}]"#,
        );
        assert_eq!(
            text,
            "\
NAME                  MAC                ADDRESS          FIRMWARE       LAST BOOT
a-name-of-20-letters  52:54:00:12:34:56  192.168.177.110  uefi-x64-http  1h 30m ago
-                     52:54:00:12:34:57  -                -              -
2 machines
"
        );
        assert!(list("[]").starts_with("no machines"));
    }

    #[test]
    fn a_name_with_escape_sequences_is_shown_safely() {
        let text = list(r#"[{"mac": "52:54:00:12:34:56", "name": "x\u001b[2J"}]"#);
        assert!(text.contains("x\\x1b[2J") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn reported_facts_stand_under_their_machine() {
        let text = list(
            r#"[{"mac": "52:54:00:12:34:56", "hardware": {"memory_mib": 511, "manufacturer": "QEMU",
                 "product": "Standard PC", "serial": "a\u001b[2J", "platform": "efi", "buildarch": "x86_64"}},
                {"mac": "52:54:00:12:34:57", "hardware": {"platform": "efi"}}]"#,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "  511 MiB, QEMU Standard PC, serial a\\x1b[2J");
        assert_eq!(lines.len(), 5, "{text}");
    }

    #[test]
    fn a_verdict_stands_under_its_machine() {
        let text = list(
            r#"[{"mac": "52:54:00:12:34:56", "name": "n1", "stage": "loader",
                 "verdict": {"cause": "no file", "advice": "add it"}}]"#,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("n1") && lines[1].ends_with("-, loader"), "{text}");
        assert_eq!(lines[2], "  no file; add it");
    }
}
