//! The name of a network interface.

use std::fmt;
use std::ops::Deref;

use crate::types::text::cut;

/// Maximum length in bytes: the kernel's IFNAMSIZ without the NUL at the end.
const MAX_LEN: usize = 15;

/// The name of a network interface, such as `eth0`. It is copied into the record of every message, so it is small and
/// shares no counter between threads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName {
    /// The name, and zeros after it.
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl Deref for InterfaceName {
    type Target = str;

    fn deref(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl From<&str> for InterfaceName {
    /// A longer name than the kernel allows is shortened.
    fn from(name: &str) -> InterfaceName {
        let name = cut(name, MAX_LEN);
        let mut bytes = [0; MAX_LEN];
        bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        InterfaceName { bytes, len: u8::try_from(name.len()).unwrap_or_default() }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_and_a_long_one_is_cut_between_characters() {
        for (name, kept) in [
            ("", ""),
            ("eth0", "eth0"),
            ("enp0s31f6.4094x", "enp0s31f6.4094x"),
            ("a-name-of-17-byte", "a-name-of-17-by"),
            ("fourteen-bytes\u{e9}", "fourteen-bytes"),
        ] {
            assert_eq!(&*InterfaceName::from(name), kept, "{name}");
        }
    }
}
