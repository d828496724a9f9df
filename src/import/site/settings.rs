//! Writes settings as keys of a mapping: `options`, `lease`, `renew`, `next_server` and so on.

use std::borrow::Cow;

use super::{INFINITE, Lease, Settings, Timer};
use crate::import::options;
use crate::import::problems::Problems;
use crate::import::sources::Place;
use crate::import::yaml::{Map, Value};

/// Options that lanboot does not send from its configuration, and the reason.
const NOT_TAKEN: &[(u8, &str)] = &[
    (0, "0 is padding, not an option"),
    (50, "only clients send it"),
    (51, "the lease time is set by `lease`"),
    (52, "lanboot decides itself where options stand in a reply"),
    (53, "lanboot writes it"),
    (54, "lanboot writes the address that the client reaches"),
    (55, "only clients send it"),
    (56, "lanboot writes it when it refuses an address"),
    (57, "only clients send it"),
    (61, "only clients send it"),
    (77, "only clients send it"),
    (80, "lanboot decides about rapid commit"),
    (81, "lanboot answers it itself"),
    (82, "only relay agents send it"),
    (93, "only clients send it"),
    (94, "only clients send it"),
    (97, "only clients send it"),
    (118, "only clients send it"),
    (175, "lanboot writes it for iPXE"),
    (255, "255 is the end mark, not an option"),
];

/// Returns the reason why option `code` cannot be configured.
pub(in crate::import) fn not_taken(code: u8) -> Option<&'static str> {
    NOT_TAKEN.iter().find(|(other, _)| *other == code).map(|(_, why)| *why)
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
        .filter(|code| not_taken(**code).is_none())
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
        // lanboot sends these itself.
        if *code == 60 && matches!(value.as_deref(), Some(b"PXEClient" | b"HTTPClient")) {
            continue;
        }
        if let Some(why) = not_taken(*code) {
            problems.add(place, format!("option {code} is not taken: {why}"));
            continue;
        }
        match value {
            None => map.set(options::key(*code), Value::Null),
            Some(bytes) => match options::value(*code, bytes) {
                Ok(value) => map.set(options::key(*code), value),
                Err(why) => problems.add(place, format!("option {code} is not taken: {why}")),
            },
        }
    }
    map
}

pub(super) fn lease(lease: Lease) -> Option<Value> {
    let Lease { default, min, max } = lease;
    default.or(min).or(max)?;
    let mut map = Map::new();
    // A default outside the bounds counts as the nearer bound.
    let default =
        default.map(|it| it.clamp(min.unwrap_or(0).min(max.unwrap_or(INFINITE)), max.unwrap_or(INFINITE)));
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
