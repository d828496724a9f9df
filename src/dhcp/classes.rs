//! Classes: match clients by the options that they send, and give them their own options and boot files. `classify.rs`
//! matches them for each message; `config/` builds them.

use crate::boot::identity::Identity;
use crate::boot::machine_boot::MachineBoot;
use crate::dhcp::fqdn;
use crate::dhcp::options::OptionSet;
use crate::types::{Arch, Uuid};
use crate::wire::dhcp::Message;
use crate::wire::option::code;
use crate::wire::{pxe, relay};

/// One entry of `dhcp.classes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Conditions, of which a client in the class meets all. At least one.
    pub conditions: Vec<Condition>,
    /// Options for clients in the class.
    pub options: OptionSet,
    /// Boot file of clients in the class.
    pub boot: Option<MachineBoot>,
}

/// One key of `match`. It has one or more values, and the client must match one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Option 60.
    VendorClass(Vec<Glob>),
    /// Option 77, either raw or any of its RFC 3004 instances.
    UserClass(Vec<Glob>),
    /// Option 12, or the first label of option 81 if there is no option 12. The comparison ignores case.
    Hostname(Vec<Glob>),
    /// Any architecture in option 93.
    Arch(Vec<Arch>),
    /// The hardware address as twelve hexadecimal digits in lower case.
    Mac(Vec<Glob>),
    /// Option 97.
    Uuid(Vec<Uuid>),
    /// Suboption 1 of option 82.
    CircuitId(Vec<Value>),
    /// Suboption 2 of option 82.
    RemoteId(Vec<Value>),
    /// Any option.
    Option(u8, Vec<Value>),
}

/// A pattern for the bytes of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text. NULs at the end of the option are ignored.
    Text(Glob),
    /// Exactly these bytes.
    Bytes(Vec<u8>),
}

impl Value {
    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Value::Text(glob) => glob.matches(text(bytes)),
            Value::Bytes(exactly) => bytes == exactly,
        }
    }
}

/// A pattern in which `*` matches any number of bytes, including none, and `?` matches one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(pub String);

impl Glob {
    /// Whether the pattern matches all of `text`.
    ///
    /// Only the last `*` is ever tried again, so the time is bounded by the product of the two lengths.
    pub fn matches(&self, text: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut seen) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while seen < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at + 1, seen));
                    at += 1;
                }
                Some(byte) if *byte == b'?' || text.get(seen) == Some(byte) => {
                    at += 1;
                    seen += 1;
                }
                _ => match &mut star {
                    Some((after, from)) => {
                        *from += 1;
                        (at, seen) = (*after, *from);
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(at).all(|byte| *byte == b'*')
    }
}

impl Class {
    /// Whether the client that sent `message` is in the class.
    pub fn has(&self, message: &Message, identity: &Identity) -> bool {
        self.conditions.iter().all(|condition| condition.holds(message, identity))
    }
}

impl Condition {
    fn holds(&self, message: &Message, identity: &Identity) -> bool {
        let options = &message.options;
        let any_text = |globs: &[Glob], sent: &[u8]| globs.iter().any(|glob| glob.matches(text(sent)));
        let any_value = |values: &[Value], sent: Option<&[u8]>| {
            sent.is_some_and(|sent| values.iter().any(|value| value.matches(sent)))
        };
        match self {
            Condition::VendorClass(globs) => {
                options.get(code::VENDOR_CLASS).is_some_and(|sent| any_text(globs, sent))
            }
            Condition::UserClass(globs) => options
                .get(code::USER_CLASS)
                .is_some_and(|sent| pxe::user_classes(sent).any(|class| any_text(globs, class))),
            Condition::Hostname(globs) => hostname(message).is_some_and(|name| any_text(globs, &name)),
            Condition::Arch(arches) => identity.arches.iter().any(|arch| arches.contains(arch)),
            Condition::Mac(globs) => message.mac().is_some_and(|mac| {
                let digits: String = mac.0.iter().map(|byte| format!("{byte:02x}")).collect();
                any_text(globs, digits.as_bytes())
            }),
            Condition::Uuid(uuids) => {
                pxe::machine_uuids(options).is_some_and(|sent| sent.iter().any(|uuid| uuids.contains(uuid)))
            }
            Condition::CircuitId(values) => any_value(values, relay::suboption(options, relay::CIRCUIT_ID)),
            Condition::RemoteId(values) => any_value(values, relay::suboption(options, relay::REMOTE_ID)),
            Condition::Option(code, values) => any_value(values, options.get(*code)),
        }
    }
}

/// The client's host name in lower case.
fn hostname(message: &Message) -> Option<Vec<u8>> {
    let options = &message.options;
    let name = options.get(code::HOSTNAME).map(<[u8]>::to_vec);
    Some(name.or_else(|| fqdn::host_of(options.get(code::FQDN)?))?.to_ascii_lowercase())
}

/// `bytes` without the NULs at their end, which Microsoft's clients send.
fn text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(pattern: &str, text: &str) -> bool {
        Glob(pattern.to_owned()).matches(text.as_bytes())
    }

    #[test]
    fn a_glob_stands_for_all_of_a_text() {
        for (pattern, text) in [
            ("acme", "acme"),
            ("acme*", "acme"),
            ("acme*", "acme phone"),
            ("*phone", "acme phone"),
            ("a?me", "acme"),
            ("*a*b*", "xaxxbx"),
            ("*ab", "aaab"),
            ("*", ""),
            ("", ""),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("acme", "acme phone"), ("acme", "acm"), ("?", ""), ("a*b", "ac"), ("", "a"), ("*ab*c", "abab")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(50), &"a".repeat(40)), "and soon");
    }

    proptest! {
        #[test]
        fn a_glob_with_a_star_at_its_end_is_a_prefix(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            prop_assert_eq!(glob(&format!("{a}*"), &b), b.starts_with(&a));
            prop_assert_eq!(glob(&format!("*{a}"), &b), b.ends_with(&a));
            prop_assert_eq!(glob(&format!("*{a}*"), &b), b.contains(&a));
            prop_assert_eq!(glob(&a, &b), a == b);
        }
    }
}
