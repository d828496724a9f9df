//! The source of a reload, and the changes that a reload cannot make. `lanboot reload` (`api/reload.rs`) and SIGHUP
//! (`cli/serve.rs`) send requests, and `watch.rs` carries them out. A file with a problem changes nothing.

use std::fmt;
use std::sync::Arc;

use crate::api::reloader::Problems;
use crate::config::Config;

/// The configuration file of the running server. `cli/serve.rs` provides it, because this folder never reads the file.
#[derive(Clone)]
pub struct Source {
    /// Reads and checks the whole file.
    pub read: Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>,
    /// Applies the settings of the process itself, such as the log level, once the server uses the configuration.
    pub apply: Arc<dyn Fn(&Config) + Send + Sync>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// The changes from `old` to `new` that a running server cannot make.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Problems {
    let both_tftp = old.tftp.as_ref().zip(new.tftp.as_ref());
    let changes = [
        ("state", "another folder", old.state != new.state),
        ("tftp.engine", "another engine", both_tftp.is_some_and(|(old, new)| old.engine != new.engine)),
    ];
    let changed = changes.into_iter().filter(|(.., is_changed)| *is_changed);
    changed.map(|(key, what, _)| format!("{key}: {what} needs a restart of lanboot")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(old: &str, new: &str) -> Problems {
        let load = |yaml: &str| crate::config::load(yaml).unwrap();
        needs_restart(&load(old), &load(new))
    }

    #[test]
    fn only_a_few_keys_need_a_restart() {
        let old = "{dhcp: {mode: proxy}, state: a, tftp: {max_transfers: 9}}";
        for new in ["images: x, http: off", "tftp: {ports: single}", "log: {format: json}"] {
            assert!(
                problems(old, &format!("{{dhcp: {{mode: proxy}}, state: a, {new}}}")).is_empty(),
                "{new}"
            );
        }
        for (new, key) in [
            ("{dhcp: {mode: proxy}, state: b}", "state: "),
            ("{dhcp: {mode: proxy}, state: a, tftp: {engine: async-tftp}}", "tftp.engine: "),
        ] {
            let problems = problems(old, new);
            let [line] = &problems[..] else { panic!("{new}: {problems:?}") };
            assert!(line.starts_with(key) && line.contains("needs a restart"), "{line}");
        }
    }
}
