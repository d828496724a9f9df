//! Finds the key `state` in a configuration without reading the rest of it. Commands that ask the running server need
//! only this key, and they must answer quickly with a file of 10,000 machines and with a file that has problems.

use std::path::PathBuf;

use serde::Deserialize;

/// The folder that a configuration without the key `state` uses.
const DEFAULT: &str = "/var/lib/lanboot";

#[derive(Deserialize)]
struct OnlyState {
    state: Option<PathBuf>,
}

/// The value of `state` in the main file of a configuration, or its default.
///
/// # Errors
/// The text is not YAML, or `state` is not a text.
pub fn state_folder(text: &str) -> Result<PathBuf, String> {
    if let Some(state) = from_line(text) {
        return Ok(state);
    }
    if !text.contains("state") {
        return Ok(DEFAULT.into());
    }
    // For example `{state: x}` in one line, or an empty file.
    let only: Option<OnlyState> = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    Ok(only.and_then(|only| only.state).unwrap_or_else(|| DEFAULT.into()))
}

/// The value, if one line has nothing but the key and a plain value, as in almost every file.
fn from_line(text: &str) -> Option<PathBuf> {
    let mut lines = text.lines().filter(|line| line.starts_with("state:"));
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    // A value with an anchor, an alias, quotes or several lines is left to the YAML parser.
    let value = line.split_once(": ")?.1.trim_start();
    let is_plain = value.starts_with(|first: char| first.is_ascii_alphanumeric() || "/._~".contains(first));
    if !is_plain || value.starts_with('~') {
        return None;
    }
    serde_yaml::from_str::<OnlyState>(line).ok()?.state
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_state_folder_is_found_as_the_whole_reader_finds_it() {
        for text in [
            "state: leases\n",
            "# state: other\nstate: /var/lib/other   # a comment\nimages: x\n",
            "state: 'with space # and hash'\n",
            "state: with space\n",
            "\"state\": quoted\n",
            "{state: flow, images: x}\n",
            "images: &x folder\nstate: *x\n",
            "state:\n  on the next line\n",
            "state: \"two\n  lines\"\n",
            "images: x\n",
            "state: ./relative\r\nimages: x\r\n",
        ] {
            let whole = crate::config::load(text).map(|config| config.state);
            let whole = whole.unwrap_or_else(|problems| panic!("{text:?}: {problems:?}"));
            assert_eq!(state_folder(text), Ok(whole), "{text:?}");
        }
    }

    #[test]
    fn problems_elsewhere_do_not_matter() {
        let state = |text| state_folder(text).unwrap();
        assert_eq!(state(""), Path::new(DEFAULT));
        assert_eq!(state("state: leases\ndhcp: [broken\n"), Path::new("leases"));
        assert_eq!(state("dhcp: {statement: 1}\n"), Path::new(DEFAULT));
        assert_eq!(state("images: |\n state: not this\n"), Path::new(DEFAULT));
        assert!(state_folder("state: [a, b]\n").is_err());
        assert!(state_folder("state: \"open\n").is_err());
    }
}
