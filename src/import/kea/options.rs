//! Kea's `option-def` and `option-data`: the values of all options of a level, in bytes.

use std::collections::BTreeMap;

use super::json::Node;
use crate::import::place::Place;
use crate::import::problems::Problems;
use crate::import::site::{Settings, Timer, not_taken};
use crate::import::standard::{self, Atom, Format, encode, suboptions};

/// The space of the options in `site`.
const DHCP4: &str = "dhcp4";
/// The space of the suboptions of option 43.
const VENDOR: &str = "vendor-encapsulated-options-space";

/// The enterprise number of Cable Television Laboratories, whose cable modems request suboptions of option 125.
const CABLE_LABS: u32 = 4491;

/// A definition of an option.
#[derive(Clone, Debug)]
struct Definition {
    space: String,
    name: String,
    code: u8,
    format: Format,
    encapsulates: String,
}

/// All definitions of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Definitions(Vec<Definition>);

/// An option of one level.
struct Data {
    place: Place,
    bytes: Vec<u8>,
    is_always_sent: bool,
    is_never_sent: bool,
}

impl Definitions {
    /// Adds the definitions in the list `node`.
    pub fn add(&mut self, node: &Node, problems: &mut Problems) {
        for item in node.items() {
            let text = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default();
            let code = item.get("code").and_then(Node::int).and_then(|code| u8::try_from(code).ok());
            let Some(code) = code.filter(|_| !text("name").is_empty()) else {
                problems.add(item.place, "option-def without a name and a code from 0 to 255 is not taken");
                continue;
            };
            let space = Some(text("space")).filter(|it| !it.is_empty()).unwrap_or(DHCP4).to_owned();
            let kind = text("type");
            let kinds = if kind == "record" { text("record-types") } else { kind };
            let atoms: Option<Vec<Atom>> = kinds.split(',').map(|kind| atom(kind.trim())).collect();
            let Some(atoms) = atoms else {
                problems
                    .add(item.place, format!("option-def {:?} has an unknown type {kinds:?}", text("name")));
                continue;
            };
            let is_array = item.get("array").and_then(Node::bool) == Some(true);
            let repeat = is_array.then(|| atoms.len().saturating_sub(1));
            self.0.push(Definition {
                space,
                name: text("name").to_owned(),
                code,
                format: Format { atoms, repeat },
                encapsulates: text("encapsulate").to_owned(),
            });
        }
    }

    /// Returns the code of the option in the main space with this name.
    pub fn code_of(&self, name: &str) -> Option<u8> {
        self.find(DHCP4, name).map(|(code, ..)| code)
    }

    /// Returns the code, the form and the inner space of a named option.
    fn find(&self, space: &str, name: &str) -> Option<(u8, Option<Format>, &str)> {
        if let Some(found) = self.0.iter().rev().find(|row| row.space == space && row.name == name) {
            return Some((found.code, Some(found.format.clone()), &found.encapsulates));
        }
        let (code, _) = standard::kea(name).filter(|_| space == DHCP4)?;
        let (format, inner) = self.find_code(space, code);
        Some((code, format, inner))
    }

    fn find_code(&self, space: &str, code: u8) -> (Option<Format>, &str) {
        if let Some(found) = self.0.iter().rev().find(|row| row.space == space && row.code == code) {
            return (Some(found.format.clone()), &found.encapsulates);
        }
        match standard::by_code(code).filter(|_| space == DHCP4) {
            // The enterprise number, which stands before the suboptions.
            Some(_) if code == 125 => (Some(Format::one(Atom::U32)), ""),
            Some(format) => (Some(format), if code == 43 { VENDOR } else { "" }),
            None => (None, ""),
        }
    }

    /// Reads the list `option-data` into `settings`.
    pub fn read(&self, node: &Node, settings: &mut Settings, problems: &mut Problems) {
        let mut spaces: BTreeMap<String, BTreeMap<u8, Data>> = BTreeMap::new();
        for item in node.items() {
            super::keys::check(item, OPTION_KEYS, problems);
            match self.data(item) {
                Ok((space, code, data)) => {
                    spaces.entry(space).or_default().insert(code, data);
                }
                Err(why) => problems.add(item.place, why),
            }
        }
        self.encapsulate(&mut spaces, problems);
        self.vendors(&mut spaces, problems);
        for (code, data) in spaces.remove(DHCP4).unwrap_or_default() {
            if let (58 | 59, Ok(octets)) = (code, <[u8; 4]>::try_from(data.bytes.as_slice())) {
                let timer = Some(Timer::Seconds(u32::from_be_bytes(octets)));
                *(if code == 58 { &mut settings.renew } else { &mut settings.rebind }) = timer;
                continue;
            }
            if let Some(why) = not_taken(code, Some(&data.bytes).filter(|_| !data.is_never_sent)) {
                problems.add(data.place, why);
                continue;
            }
            settings.options.insert(code, (!data.is_never_sent).then_some(data.bytes));
            if data.is_always_sent {
                settings.always.insert(code);
            }
        }
        for (space, options) in spaces {
            let place = options.values().map(|data| data.place).min();
            let why = format!(
                "the options of space {space:?} are not taken: no option of this level encapsulates the space"
            );
            place.into_iter().for_each(|place| problems.add(place, why.clone()));
        }
    }

    /// Returns the space, code and value of one entry of `option-data`.
    fn data(&self, item: &Node) -> Result<(String, u8, Data), String> {
        let text = |key: &str| item.get(key).and_then(Node::text);
        let space = text("space").filter(|space| !space.is_empty()).unwrap_or(DHCP4);
        let number = item.get("code").and_then(Node::int);
        let named = text("name").and_then(|name| self.find(space, name));
        let code = match (&named, number) {
            (Some((code, ..)), _) => *code,
            (None, Some(number)) => {
                u8::try_from(number).map_err(|_| format!("there is no option {number}: not taken"))?
            }
            (None, None) => {
                let name = text("name").unwrap_or_default();
                return Err(format!("unknown option {name:?} of space {space:?} is not taken: add its code"));
            }
        };
        let format = match named {
            Some((_, format, _)) => format,
            None => self.find_code(space, code).0,
        };
        let is_csv = item.get("csv-format").and_then(Node::bool).unwrap_or(format.is_some());
        let data = text("data").unwrap_or_default();
        let bytes = match (format, is_csv) {
            (Some(format), true) => csv(&format, data)
                .map_err(|why| format!("option {code} is not taken: expected {why}, found {data:?}"))?,
            (None, true) => return Err(format!("option {code} is not taken: it has no option-def")),
            (_, false) => match data.trim().strip_prefix('\'').and_then(|it| it.strip_suffix('\'')) {
                Some(quoted) => quoted.as_bytes().to_vec(),
                None => standard::hex(data)
                    .ok_or_else(|| format!("option {code} is not taken: expected hexadecimal digits"))?,
            },
        };
        let is = |key: &str| item.get(key).and_then(Node::bool) == Some(true);
        let data = Data {
            place: item.place,
            bytes,
            is_always_sent: is("always-send"),
            is_never_sent: is("never-send"),
        };
        Ok((space.to_owned(), code, data))
    }

    /// Moves the options of inner spaces into the options that encapsulate them.
    fn encapsulate(&self, spaces: &mut BTreeMap<String, BTreeMap<u8, Data>>, problems: &mut Problems) {
        // Definitions cannot be nested deeper than there are spaces.
        for _ in 0..spaces.len() {
            let inner: Vec<(String, u8, String)> = spaces
                .iter()
                .flat_map(|(space, options)| options.keys().map(move |code| (space, *code)))
                .map(|(space, code)| (space.clone(), code, self.find_code(space, code).1.to_owned()))
                .filter(|(space, _, inner)| !inner.is_empty() && inner != space && spaces.contains_key(inner))
                .collect();
            // Innermost spaces first.
            let ready = inner.iter().find(|(_, _, wanted)| !inner.iter().any(|(space, ..)| space == wanted));
            let Some((space, code, wanted)) = ready else { break };
            let Some(options) = spaces.remove(wanted) else { break };
            let bytes = suboptions(options.iter().map(|(code, data)| (*code, data.bytes.as_slice())));
            let Some(outer) = spaces.get_mut(space).and_then(|options| options.get_mut(code)) else { break };
            match bytes {
                Some(bytes) => outer.bytes.extend(bytes),
                None => problems.add(outer.place, format!("a suboption of option {code} has over 255 bytes")),
            }
        }
    }

    /// Moves the options of the spaces `vendor-NUMBER` into option 125 (RFC 3925).
    fn vendors(&self, spaces: &mut BTreeMap<String, BTreeMap<u8, Data>>, problems: &mut Problems) {
        let names: Vec<(String, u32)> = spaces
            .keys()
            .filter_map(|space| Some((space.clone(), space.strip_prefix("vendor-")?.parse().ok()?)))
            .collect();
        for (name, enterprise) in names {
            let Some(mut options) = spaces.remove(&name) else { continue };
            let Some(place) = options.values().map(|data| data.place).min() else { continue };
            // Kea looks into the client's option 125 only for requests of cable modems.
            options.retain(|code, data| {
                let is_sent = data.is_always_sent || enterprise == CABLE_LABS;
                if !is_sent {
                    let why = "Kea sends it only with \"always-send\": true";
                    problems.add(data.place, format!("option {code} of space {name:?} is not taken: {why}"));
                }
                is_sent
            });
            let has_outer = spaces.get(DHCP4).is_some_and(|main| main.contains_key(&125));
            if options.is_empty() && !has_outer {
                continue;
            }
            let inside = suboptions(options.iter().map(|(code, data)| (*code, data.bytes.as_slice())));
            let Some((inside, length)) =
                inside.and_then(|inside| Some((inside.clone(), u8::try_from(inside.len()).ok()?)))
            else {
                problems.add(place, format!("the options of space {name:?} have over 255 bytes: not taken"));
                continue;
            };
            let bytes = [&enterprise.to_be_bytes()[..], &[length], &inside].concat();
            let is_always_sent = options.values().any(|data| data.is_always_sent);
            let main = spaces.entry(DHCP4.to_owned()).or_default();
            let empty = Data { place, bytes: Vec::new(), is_always_sent, is_never_sent: false };
            let outer = main.entry(125).or_insert(empty);
            // Kea repeats the enterprise number that `vivso-suboptions` itself may have.
            if outer.bytes == enterprise.to_be_bytes() {
                outer.bytes.clear();
            }
            outer.bytes.extend(bytes);
            outer.is_always_sent |= is_always_sent;
        }
    }
}

const OPTION_KEYS: &[&str] = &["name", "code", "space", "csv-format", "data", "always-send", "never-send"];

fn atom(kind: &str) -> Option<Atom> {
    Some(match kind {
        "empty" => Atom::Empty,
        "binary" => Atom::Binary,
        "boolean" => Atom::Bool,
        "int8" => Atom::I8,
        "int16" => Atom::I16,
        "int32" => Atom::I32,
        "uint8" => Atom::U8,
        "uint16" => Atom::U16,
        "uint32" => Atom::U32,
        "string" => Atom::Text,
        "fqdn" => Atom::Name,
        "ipv4-address" => Atom::Ip,
        "ipv6-address" => Atom::Ip6,
        "ipv6-prefix" => Atom::Prefix6,
        "psid" => Atom::Psid,
        "tuple" => Atom::Tuple,
        _ => return None,
    })
}

/// Encodes values separated by commas. `\,` is a comma in a text.
fn csv(format: &Format, data: &str) -> Result<Vec<u8>, &'static str> {
    let mut values = vec![String::new()];
    let mut letters = data.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&',') => {
                letters.next();
                values.last_mut().into_iter().for_each(|value| value.push(','));
            }
            ',' => values.push(String::new()),
            letter => values.last_mut().into_iter().for_each(|value| value.push(letter)),
        }
    }
    let mut bytes = Vec::new();
    let count = if data.trim().is_empty() { 0 } else { values.len() };
    for (index, value) in values.iter().take(count).enumerate() {
        let trimmed = value.trim_matches([' ', '\t', '\n']);
        match format.atom(index) {
            // DNS names of an array stand in a row, as in `Atom::Names`.
            Some(Atom::Names) => bytes.extend(encode(Atom::Name, trimmed)?),
            Some(atom) => bytes.extend(encode(atom, trimmed)?),
            None if matches!(format.atoms.as_slice(), [Atom::Names]) => {
                bytes.extend(encode(Atom::Name, trimmed)?);
            }
            // Kea ignores the rest of the values of a single one.
            None => break,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use crate::import::{Found, Sources};

    fn read(definitions: &str, data: &str) -> (BTreeMap<u8, Option<Vec<u8>>>, Vec<String>) {
        let text = format!("{{\"def\": [{definitions}], \"data\": [{data}]}}");
        let mut read = |name: &str, _: Option<&str>| {
            Ok(Found { name: name.to_owned(), bytes: text.clone().into_bytes() })
        };
        let mut list = |_: &str, _: Option<&str>| Ok(Vec::new());
        let mut sources = Sources::new(&mut read, &mut list);
        let node = json::parse(&mut sources, "k").unwrap();
        let (mut all, mut problems) = (Definitions::default(), Problems::default());
        all.add(node.get("def").unwrap(), &mut problems);
        let mut settings = Settings::default();
        all.read(node.get("data").unwrap(), &mut settings, &mut problems);
        let problems = problems.finish(sources.names()).iter().map(ToString::to_string).collect();
        (settings.options, problems)
    }

    #[track_caller]
    fn one(definitions: &str, data: &str, code: u8, bytes: &[u8]) {
        let (options, problems) = read(definitions, data);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(options.get(&code), Some(&Some(bytes.to_vec())), "{options:?}");
    }

    #[test]
    fn standard_options_are_encoded_by_their_type() {
        one("", r#"{"name": "routers", "data": "10.0.0.1, 10.0.0.2"}"#, 3, &[10, 0, 0, 1, 10, 0, 0, 2]);
        one("", r#"{"code": 17, "data": "a\\, b, c"}"#, 17, b"a, b");
        one("", r#"{"name": "domain-search", "data": "a.b, c"}"#, 119, b"\x01a\x01b\0\x01c\0");
        one("", r#"{"name": "routers", "csv-format": false, "data": "0A 00 00 01"}"#, 3, &[10, 0, 0, 1]);
        one("", r#"{"code": 224, "data": "0a:0B"}"#, 224, &[10, 11]);
        one("", r#"{"code": 224, "csv-format": false, "data": "'abc'"}"#, 224, b"abc");
    }

    #[test]
    fn records_arrays_and_spaces_are_computed_to_bytes() {
        let record =
            r#"{"name": "r", "code": 222, "type": "record", "record-types": "uint8, ipv4-address, string"}"#;
        one(record, r#"{"name": "r", "data": "7, 10.0.0.1, x"}"#, 222, &[7, 10, 0, 0, 1, b'x']);
        let array = r#"{"name": "a", "code": 223, "type": "uint16", "array": true}"#;
        one(array, r#"{"name": "a", "data": "1,2"}"#, 223, &[0, 1, 0, 2]);
        let inner = r#"{"name": "outer", "code": 249, "type": "empty", "encapsulate": "in"},
            {"name": "one", "code": 1, "space": "in", "type": "uint8"},
            {"name": "two", "code": 2, "space": "in", "type": "string"}"#;
        let data = r#"{"name": "two", "space": "in", "data": "hi"}, {"name": "outer"},
            {"name": "one", "space": "in", "data": "9"}"#;
        one(inner, data, 249, &[1, 1, 9, 2, 2, b'h', b'i']);
        let vendor =
            r#"{"name": "pxe", "code": 6, "space": "vendor-encapsulated-options-space", "type": "uint8"}"#;
        let data = r#"{"name": "vendor-encapsulated-options"},
            {"name": "pxe", "space": "vendor-encapsulated-options-space", "data": "8"}"#;
        one(vendor, data, 43, &[6, 1, 8]);
        let vendor =
            r#"{"name": "tftp", "code": 2, "space": "vendor-4491", "type": "ipv4-address", "array": true}"#;
        let data = r#"{"name": "tftp", "space": "vendor-4491", "data": "10.0.0.1"}"#;
        one(vendor, data, 125, &[0, 0, 0x11, 0x8b, 6, 2, 4, 10, 0, 0, 1]);
        let vendor = r#"{"name": "one", "code": 1, "space": "vendor-9", "type": "uint8"}"#;
        let data = r#"{"name": "one", "space": "vendor-9", "data": "7", "always-send": true}"#;
        one(vendor, data, 125, &[0, 0, 0, 9, 3, 1, 1, 7]);
        let (options, problems) = read(vendor, r#"{"name": "one", "space": "vendor-9", "data": "7"}"#);
        assert!(options.is_empty() && problems.len() == 1, "{options:?} {problems:?}");
    }

    #[test]
    fn options_that_are_not_taken_are_named() {
        for (data, why) in [
            (r#"{"name": "nothing", "data": "1"}"#, "unknown option \"nothing\" of space \"dhcp4\""),
            (
                r#"{"name": "routers", "data": "x"}"#,
                "option 3 is not taken: expected an IPv4 address, found \"x\"",
            ),
            (
                r#"{"code": 7, "space": "lost", "csv-format": false, "data": "01"}"#,
                "the options of space \"lost\"",
            ),
            (r#"{"code": 300, "data": "01"}"#, "there is no option 300"),
        ] {
            let (options, problems) = read("", data);
            assert!(options.is_empty() && problems[0].contains(why), "{problems:?}");
        }
    }
}
