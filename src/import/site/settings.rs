//! Writes settings as keys of a mapping: `options`, `lease`, `renew`, `next_server` and so on.

use std::borrow::Cow;

use crate::config::document::{Map, Value};
use crate::config::option_not_configurable;
use crate::import::options;
use crate::import::place::Place;
use crate::import::problems::Problems;
use crate::import::site::model::{INFINITE, Lease, Settings, Timer};

/// Whether lanboot sends the option with this value itself.
fn is_implied(code: u8, value: Option<&[u8]>) -> bool {
    code == 60 && matches!(value, Some(b"PXEClient" | b"HTTPClient"))
}

/// Returns the reason why `config.yaml` does not take option `code` with this value, or its removal.
pub(in crate::import) fn not_taken(code: u8, value: Option<&Vec<u8>>) -> Option<String> {
    if is_implied(code, value.map(Vec::as_slice)) {
        return None;
    }
    let why = match (option_not_configurable(code), value) {
        (Some(why), _) => why.to_owned(),
        (None, Some(bytes)) => options::value(code, bytes).err()?,
        (None, None) => return None,
    };
    Some(format!("option {code} is not taken: {why}"))
}

/// Adds the keys for `settings` to `map`. `levels` says which keys exist at this level.
pub(super) fn write(map: &mut Map, settings: &Settings, place: Place, problems: &mut Problems) {
    if let Some(address) = settings.next_server {
        map.set("next_server", address);
    }
    if let Some(name) = &settings.server_name {
        map.set("server_name", name.as_str());
    }
    if let Some(file) = &settings.boot_file {
        map.set("boot_file", file.as_str());
    }
    if let Some(lease) = lease(settings.lease) {
        map.set("lease", lease);
    }
    for (key, timer) in [("renew", settings.renew), ("rebind", settings.rebind)] {
        if let Some(timer) = timer {
            map.set(key, self::timer(timer));
        }
    }
    let options = options(settings, place, problems);
    if !options.is_empty() {
        map.set("options", options);
    }
    let always: Vec<Value> = settings
        .always
        .iter()
        .filter(|code| option_not_configurable(**code).is_none())
        .map(|code| match options::key(*code) {
            Cow::Borrowed(name) => Value::from(name),
            Cow::Owned(_) => Value::Int((*code).into()),
        })
        .collect();
    if !always.is_empty() {
        map.set("always_send", always);
    }
}

/// Returns the mapping of the options.
pub(super) fn options(settings: &Settings, place: Place, problems: &mut Problems) -> Map {
    let mut map = Map::new();
    for (code, value) in &settings.options {
        if is_implied(*code, value.as_deref()) {
            continue;
        }
        if let Some(why) = not_taken(*code, value.as_ref()) {
            problems.add(place, why);
            continue;
        }
        match value {
            None => map.set(options::key(*code), Value::Null),
            Some(bytes) => match options::value(*code, bytes) {
                Ok(value) => map.set(options::key(*code), value),
                Err(why) => problems.add(place, why),
            },
        }
    }
    map
}

/// Returns the default lease time. One outside the bounds counts as the nearer bound.
pub(super) fn default_lease(lease: Lease) -> Option<u32> {
    let Lease { default, min, max } = lease;
    default.map(|it| it.clamp(min.unwrap_or(0).min(max.unwrap_or(INFINITE)), max.unwrap_or(INFINITE)))
}

pub(super) fn lease(lease: Lease) -> Option<Value> {
    let Lease { default, min, max } = lease;
    default.or(min).or(max)?;
    let mut map = Map::new();
    let default = default_lease(lease);
    let max = max.filter(|max| Some(*max) != default);
    for (key, value) in [("default", default), ("min", min), ("max", max)] {
        if let Some(value) = value {
            map.set(key, seconds(value));
        }
    }
    Some(map.into())
}

fn timer(timer: Timer) -> String {
    match timer {
        Timer::Seconds(number) => seconds(number),
        Timer::Share(share) if share.is_multiple_of(10) => format!("{}%", share / 10),
        Timer::Share(share) => format!("{}.{}%", share / 10, share % 10),
    }
}

/// Returns the lease times of a level that has any, with those of the level below for the others.
pub(super) fn complete(own: Lease, below: Lease) -> Lease {
    if own == Lease::default() { own } else { merged(own, below) }
}

/// Returns the lease times of a level, with those of the level below where it has none.
pub(super) fn merged(own: Lease, below: Lease) -> Lease {
    Lease { default: own.default.or(below.default), min: own.min.or(below.min), max: own.max.or(below.max) }
}

/// Returns a time in its largest whole unit.
pub(super) fn seconds(number: u32) -> String {
    match number {
        INFINITE => "infinite".to_owned(),
        number if number > 0 && number.is_multiple_of(86_400) => format!("{}d", number / 86_400),
        number if number > 0 && number.is_multiple_of(3600) => format!("{}h", number / 3600),
        number if number > 0 && number.is_multiple_of(60) => format!("{}m", number / 60),
        number => format!("{number}s"),
    }
}
