//! The dashboard and the alert rules of docs/monitoring agree with the metrics that lanboot has.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::sources::root;

/// The names in the families of an empty server.
fn names() -> BTreeSet<String> {
    let text = lanboot::record::Recorder::default().metrics(Vec::new());
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    families.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The metrics that `text` uses, without the suffixes of samples.
fn used(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.starts_with("lanboot_"));
    let suffixes = ["_total", "_bucket", "_sum", "_count"];
    metrics
        .map(|word| suffixes.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned())
        .collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs/monitoring").join(name)).unwrap()
}

#[test]
fn the_dashboard_has_a_panel_for_each_metric() {
    let dashboard: serde_json::Value = serde_json::from_str(&page("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert_eq!(used(&expressions.join(" ")), names());
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
}

#[test]
fn the_page_and_the_alerts_name_only_metrics_that_exist() {
    let names = names();
    assert_eq!(used(&page("README.md")), names);
    for file in ["alerts.yaml", "alerts.test.yaml"] {
        let unknown: Vec<String> = used(&page(file)).difference(&names).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// promtool is in Debian's package prometheus, which `tests/run` installs.
#[test]
fn promtool_accepts_the_alerts_and_their_tests_pass() {
    let folder = root().join("docs/monitoring");
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = match Command::new("promtool").args(arguments).current_dir(&folder).output() {
            Ok(output) => output,
            Err(error) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "promtool cannot be run: {error}");
                return eprintln!("SKIPPED: promtool cannot be run: {error}");
            }
        };
        let shown =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {shown}");
    }
}
