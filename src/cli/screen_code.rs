//! `lanboot why CODE`: the meaning of a code or message on a machine's screen, and the machines that it fits now. It works
//! without a server, too.

use std::process::ExitCode;

use hyper::Method;
use serde_json::{Value, json};

use super::ask_server::{Answer, ask, segment};
use super::config_file::{Given, state_folder};
use super::output;
use super::table::{safe, shown};
use crate::journey::codes::{ScreenCode, find};
use crate::types::MacAddr;

/// Prints what the screen means if `text` is a code or a message of one. Returns `None` if it is a machine: an address, or
/// a name that the server knows.
pub(super) fn explain(given: Given<'_>, text: &str, as_json: bool) -> Option<ExitCode> {
    if text.parse::<MacAddr>().is_ok() || text.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let codes = find(text);
    if codes.is_empty() || get(given, &format!("/api/v1/machines/{}", segment(text))).is_some() {
        return None;
    }
    let machines = get(given, "/api/v1/machines");
    let fitting = machines.as_ref().and_then(Value::as_array).map(|all| fitting(&codes, all));
    Some(output::print(&if as_json { json_text(&codes, fitting) } else { plain_text(&codes, fitting) }))
}

/// The server's answer; `None` if no server runs or it refuses.
fn get(given: Given<'_>, path: &str) -> Option<Value> {
    match ask(&state_folder(given).ok()?, Method::GET, path, None) {
        Ok(Answer::Done(body)) => serde_json::from_slice(&body).ok(),
        _ => None,
    }
}

/// The machines whose verdict goes with one of `codes`.
fn fitting<'a>(codes: &[&ScreenCode], machines: &'a [Value]) -> Vec<&'a Value> {
    let fits = |id: &str| codes.iter().any(|code| code.verdicts.contains(&id));
    machines.iter().filter(|machine| machine["verdict"]["id"].as_str().is_some_and(fits)).collect()
}

/// `machines` is `None` if no server runs.
fn plain_text(codes: &[&ScreenCode], machines: Option<Vec<&Value>>) -> String {
    let mut text = String::new();
    for ScreenCode { shown_by, code, message, meaning, verdicts } in codes.iter().copied() {
        let title: Vec<&str> = [*code, *message].into_iter().filter(|part| !part.is_empty()).collect();
        text.push_str(&format!("{} ({})\n  {meaning}\n", title.join(": "), shown_by.name()));
        if !verdicts.is_empty() {
            text.push_str(&format!("  verdicts: {}\n", verdicts.join(", ")));
        }
    }
    match machines {
        None => text.push_str("no server runs here, so no machines are compared\n"),
        Some(machines) if machines.is_empty() => text.push_str("it fits no machine now\n"),
        Some(machines) => {
            text.push_str("it fits these machines now:\n");
            for machine in machines {
                let field = |name: &str| machine[name].as_str().map(safe);
                let of_verdict = |name: &str| shown(machine["verdict"][name].as_str().unwrap_or_default());
                let (mac, name) = (field("mac").unwrap_or_default(), field("name"));
                let name = name.map(|name| format!(" {name}")).unwrap_or_default();
                let line = format!("  {mac}{name}: {} ({})\n", of_verdict("cause"), of_verdict("id"));
                text.push_str(&line);
            }
        }
    }
    text
}

fn json_text(codes: &[&ScreenCode], machines: Option<Vec<&Value>>) -> String {
    let code = |code: &&ScreenCode| {
        let ScreenCode { shown_by, code, message, meaning, verdicts } = **code;
        json!({ "shown_by": shown_by.name(), "code": code, "message": message, "meaning": meaning, "verdicts": verdicts })
    };
    let codes: Vec<Value> = codes.iter().map(code).collect();
    format!("{}\n", json!({ "codes": codes, "machines": machines }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_explained_with_the_machines_that_it_fits() {
        let codes = find("PXE-E53");
        assert!(!codes.is_empty());
        let id = codes[0].verdicts[0];
        let machine = |n: u8, id: &str| json!({ "mac": format!("02:00:00:00:00:0{n}"), "name": "n\u{1b}", "verdict": { "id": id, "cause": "a cause" } });
        let all = [machine(1, id), machine(2, "other"), json!({ "mac": null, "verdict": null })];
        let text = plain_text(&codes, Some(fitting(&codes, &all)));
        assert!(text.starts_with("PXE-E53: "), "{text}");
        let last = format!("it fits these machines now:\n  02:00:00:00:00:01 n\\x1b: a cause ({id})\n");
        assert!(text.ends_with(&last), "{text}");
        assert!(plain_text(&codes, Some(Vec::new())).ends_with("it fits no machine now\n"));
        let json: Value = serde_json::from_str(&json_text(&codes, None)).unwrap();
        assert_eq!((&json["codes"][0]["code"], &json["machines"]), (&json!("PXE-E53"), &Value::Null));
    }
}
