//! DHCP options as configured, already encoded. `config/` builds them; `reply.rs` and `proxy.rs` send them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The options of one level of the configuration, by option code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionSet(BTreeMap<u8, OptionValue>);

/// The configured value of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// The encoded value, of the type that the option table gives.
    Bytes(Vec<u8>),
    /// An encoded value with `{server}` in it: at each offset in `places`, four bytes stand for our address.
    WithServer { bytes: Vec<u8>, places: Vec<usize> },
    /// The option is not sent, although a level of lower precedence sets it.
    Removed,
}

impl OptionValue {
    /// The bytes to send from our address `server`; `None` if the option is removed.
    pub fn bytes(&self, server: Ipv4Addr) -> Option<Cow<'_, [u8]>> {
        match self {
            OptionValue::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            OptionValue::WithServer { bytes, places } => {
                let mut filled_in = bytes.clone();
                for place in places {
                    let end = place.saturating_add(4);
                    if let Some(part) = filled_in.get_mut(*place..end) {
                        part.copy_from_slice(&server.octets());
                    }
                }
                Some(Cow::Owned(filled_in))
            }
            OptionValue::Removed => None,
        }
    }

    /// Whether the option is sent to clients, with any value.
    pub fn is_sent(&self) -> bool {
        !matches!(self, OptionValue::Removed)
    }
}

impl OptionSet {
    /// The value of option `code` at this level.
    pub fn get(&self, code: u8) -> Option<&OptionValue> {
        self.0.get(&code)
    }

    /// The encoded value of option `code`, if it is set and does not depend on our address.
    pub fn constant(&self, code: u8) -> Option<&[u8]> {
        match self.0.get(&code) {
            Some(OptionValue::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Sets option `code`. Returns the value that it had.
    pub fn insert(&mut self, code: u8, value: OptionValue) -> Option<OptionValue> {
        self.0.insert(code, value)
    }

    /// The codes of all options in ascending order, removed ones included.
    pub fn codes(&self) -> impl Iterator<Item = u8> {
        self.0.keys().copied()
    }

    /// All options in ascending order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &OptionValue)> {
        self.0.iter().map(|(code, value)| (*code, value))
    }
}

impl FromIterator<(u8, Vec<u8>)> for OptionSet {
    fn from_iter<T: IntoIterator<Item = (u8, Vec<u8>)>>(options: T) -> OptionSet {
        OptionSet(options.into_iter().map(|(code, bytes)| (code, OptionValue::Bytes(bytes))).collect())
    }
}

impl<const N: usize> From<[(u8, Vec<u8>); N]> for OptionSet {
    fn from(options: [(u8, Vec<u8>); N]) -> OptionSet {
        options.into_iter().collect()
    }
}
