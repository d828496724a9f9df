//! Writes DHCP options: from the bytes on the wire to the most readable value that `config.yaml` reads as these bytes.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use super::patterns::{hex, readable};
use crate::config::document::{Map, Value};
use crate::config::illegal_option_value;
use crate::types::Ipv4Network;
use crate::wire::names;
use crate::wire::option::{Kind, by_code};

/// The text that `config.yaml` takes for the address of the server that the client reaches.
pub const SERVER: &str = "{server}";

/// The key of an option: its name, or its number.
pub fn key(code: u8) -> Cow<'static, str> {
    by_code(code).map_or_else(|| Cow::Owned(code.to_string()), |row| Cow::Borrowed(row.name))
}

/// The value of an option with these bytes.
///
/// # Errors
/// `config.yaml` does not take the value: its length does not fit the registered type of the option, because firmware
/// parses options without checking lengths, or the RFC of the option calls it illegal.
pub fn value(code: u8, bytes: &[u8]) -> Result<Value, String> {
    let kind = by_code(code).map(|row| row.kind);
    let fits = match kind {
        // The server compresses names itself.
        Some(Kind::Names) => names::read(bytes).is_some(),
        Some(kind) => kind.fits(bytes),
        None => !bytes.is_empty(),
    };
    if !fits {
        let len = bytes.len();
        return Err(format!("a value of {len} bytes does not fit the registered type of option {code}"));
    }
    if let Some(why) = illegal_option_value(code, bytes) {
        return Err(why);
    }
    Ok(kind.and_then(|kind| by_kind(kind, bytes)).unwrap_or_else(|| raw(bytes)))
}

/// Whether the option consists of addresses, so that [`SERVER`] can stand in it.
pub fn takes_addresses(code: u8) -> bool {
    by_code(code).is_some_and(|row| matches!(row.kind, Kind::Ip | Kind::Ips))
}

/// Addresses, of which `None` is that of the server itself.
pub fn addresses(addresses: &[Option<Ipv4Addr>]) -> Value {
    Value::one_or_list(
        addresses.iter().map(|address| address.map_or_else(|| SERVER.to_owned(), |it| it.to_string())),
    )
}

/// Bytes of an option without a registered type.
fn raw(bytes: &[u8]) -> Value {
    match readable(bytes) {
        Some(text) => Value::Text(format!("text:{text}")),
        None => Value::Text(hex(bytes)),
    }
}

fn by_kind(kind: Kind, bytes: &[u8]) -> Option<Value> {
    let address = |octets: &[u8]| <[u8; 4]>::try_from(octets).map(Ipv4Addr::from).ok();
    let number = |bytes: &[u8]| bytes.iter().fold(0i64, |number, byte| number << 8 | i64::from(*byte));
    Some(match kind {
        Kind::Ip => address(bytes)?.into(),
        Kind::Ips | Kind::IpsOrNone => Value::one_or_list(bytes.chunks_exact(4).filter_map(address)),
        Kind::IpPairs => {
            let pair = |octets: &[u8]| {
                let (one, two) = octets.split_at_checked(4)?;
                Some(format!("{} {}", address(one)?, address(two)?))
            };
            Value::one_or_list(bytes.chunks_exact(8).filter_map(pair))
        }
        Kind::Bool => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return None,
        },
        Kind::U8 | Kind::U16 | Kind::U32 => Value::Int(number(bytes)),
        Kind::U8s => Value::one_or_list(bytes.iter().map(|byte| u32::from(*byte))),
        Kind::U16s => Value::one_or_list(bytes.chunks_exact(2).map(number)),
        Kind::I32 => Value::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Text => Value::from(readable(bytes)?),
        Kind::Names | Kind::SearchList => {
            let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let name = |labels: Vec<&[u8]>| {
                let fits = |label: &&[u8]| !label.is_empty() && label.iter().all(is_letter);
                (!labels.is_empty() && labels.iter().all(fits))
                    .then(|| String::from_utf8_lossy(&labels.join(&b'.')).into_owned())
            };
            Value::one_or_list(names::read(bytes)?.into_iter().map(name).collect::<Option<Vec<_>>>()?)
        }
        Kind::Routes => Value::one_or_list(routes(bytes)?),
        Kind::Empty => Value::Bool(true),
        Kind::Bytes => return None,
    })
}

/// The routes of option 121 (RFC 3442).
fn routes(bytes: &[u8]) -> Option<Vec<Map>> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while let Some((prefix, tail)) = rest.split_first() {
        let (octets, tail) = tail.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (via, tail) = tail.split_at_checked(4)?;
        let mut to = [0; 4];
        to.get_mut(..octets.len())?.copy_from_slice(octets);
        // `config.yaml` takes networks without host bits only; others stay `hex:`.
        let to: Ipv4Network = format!("{}/{prefix}", Ipv4Addr::from(to)).parse().ok()?;
        let via = Ipv4Addr::from(<[u8; 4]>::try_from(via).ok()?);
        found.push(Map::new().with("to", to.to_string()).with("via", via));
        rest = tail;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::write;

    fn shown(code: u8, bytes: &[u8]) -> String {
        write(&Map::new().with(key(code), value(code, bytes).unwrap())).trim_end().to_owned()
    }

    #[test]
    fn values_are_readable_by_their_kind() {
        assert_eq!(shown(3, &[10, 0, 0, 1]), "router: 10.0.0.1");
        assert_eq!(shown(6, &[10, 0, 0, 1, 1, 1, 1, 1]), "dns: [10.0.0.1, 1.1.1.1]");
        assert_eq!(shown(2, &[255, 255, 241, 240]), "time_offset: -3600");
        assert_eq!(shown(19, &[1]), "ip_forwarding: true");
        assert_eq!(shown(26, &[5, 120]), "interface_mtu: 1400");
        assert_eq!(shown(119, b"\x03eng\x03lab\0\x02ad\xc0\x04"), "domain_search: [eng.lab, ad.lab]");
        assert_eq!(shown(121, &[8, 10, 10, 0, 0, 1]), "classless_routes: {to: 10.0.0.0/8, via: 10.0.0.1}");
        assert_eq!(shown(224, b"a b"), "224: text:a b");
        assert_eq!(shown(225, &[0, 1]), "225: hex:0001");
        assert_eq!(shown(15, b"hex:x"), "domain: hex:6865783a78");
        assert!(value(6, &[1, 2, 3]).is_err());
        assert!(value(12, b"with,comma").is_err());
        assert!(value(26, &[0, 67]).is_err());
        assert_eq!(addresses(&[None]), Value::from("{server}"));
    }

    #[test]
    fn config_yaml_reads_the_same_bytes() {
        let samples: [(u8, &[u8]); 8] = [
            (3, &[10, 0, 0, 1]),
            (2, &[255, 255, 241, 240]),
            (12, b"node-1"),
            (33, &[10, 0, 0, 0, 10, 0, 0, 1]),
            (119, b"\x03eng\x03lab\0"),
            (121, &[25, 10, 229, 0, 128, 10, 0, 0, 1]),
            (224, b"no"),
            (225, &[0, 255]),
        ];
        for (code, bytes) in samples {
            let options = Map::new().with(key(code), value(code, bytes).unwrap());
            let text = write(&Map::new().with("dhcp", Map::new().with("options", options)));
            let config = crate::config::load(&text).unwrap_or_else(|problems| panic!("{problems:?} {text}"));
            assert_eq!(config.dhcp.unwrap().level.options.constant(code), Some(bytes), "{text}");
        }
    }
}
