//! Boot file names: turns the name that a client sends into a safe name under boot-images/.
//!
//! TFTP, HTTP and `content/lookup` parse every name here. This is the first of two barriers: a name refused here never
//! reaches the disk. The second barrier is the kernel (`images/catalog.rs`), because only the kernel can check
//! symlinks. A name is never URL-decoded: `%2e` is three characters.

use std::fmt;

/// A name under boot-images/. It has at least one component, joined by `/`; no component is empty, `.` or `..`. It is
/// UTF-8 without control characters. A component has at most 255 bytes (the limit of Linux), the whole name at most
/// [`BootName::LIMIT`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BootName(String);

/// The reason why the bytes that a client sent are not a boot file name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadName {
    /// The name has no components.
    Empty,
    /// The name has more than [`BootName::LIMIT`] bytes, or a component has more than 255.
    TooLong,
    /// The name is not UTF-8. All names on disk here are.
    NotUtf8,
    /// The name has a NUL or another control character.
    ControlCharacter,
    /// The name has a `..` component. It is refused even if it stays under the root, because no firmware sends one.
    Parent,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::Empty => "the file name is empty",
            BadName::TooLong => "the file name is longer than 1024 bytes, or a part of it than 255",
            BadName::NotUtf8 => "the file name is not UTF-8",
            BadName::ControlCharacter => "the file name has a control character in it",
            BadName::Parent => "the file name has `..` in it",
        })
    }
}

impl std::error::Error for BadName {}

impl BootName {
    /// The maximum length of a name in bytes.
    pub const LIMIT: usize = 1024;
    const COMPONENT_LIMIT: usize = 255;

    /// Parses a name as a client sent it.
    ///
    /// `\` becomes `/` (Windows boot manager, shim). Leading and trailing slashes, `//` and `/./` are removed, so an
    /// absolute name is a name under boot-images/.
    pub fn parse(asked: &[u8]) -> Result<BootName, BadName> {
        if asked.len() > Self::LIMIT {
            return Err(BadName::TooLong);
        }
        let text = std::str::from_utf8(asked).map_err(|_| BadName::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(BadName::ControlCharacter);
        }
        let mut name = String::with_capacity(text.len());
        for component in text.split(['/', '\\']) {
            match component {
                "" | "." => continue,
                ".." => return Err(BadName::Parent),
                _ if component.len() > Self::COMPONENT_LIMIT => return Err(BadName::TooLong),
                _ => {}
            }
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(component);
        }
        if name.is_empty() { Err(BadName::Empty) } else { Ok(BootName(name)) }
    }

    /// Parses the name without trailing NUL, 0xFF and space bytes: the second try if the name as sent is invalid or not
    /// found. Returns `None` if there are no such bytes, or if the rest is no name either.
    ///
    /// Old PXE ROMs read past the end of the boot file option and append the next bytes of the DHCP packet to the name;
    /// 0xFF is the END option (netbootxyz/netboot.xyz#1198).
    pub fn parse_trimmed(asked: &[u8]) -> Option<BootName> {
        let junk = asked.iter().rev().take_while(|byte| matches!(byte, 0 | 0xff | b' ')).count();
        let (trimmed, _) = asked.split_at_checked(asked.len().checked_sub(junk)?)?;
        if junk == 0 { None } else { BootName::parse(trimmed).ok() }
    }

    /// Returns the names that a client may have meant by `asked`, the most likely first: at most two.
    pub fn candidates(asked: &[u8]) -> impl Iterator<Item = BootName> {
        BootName::parse(asked).ok().into_iter().chain(BootName::parse_trimmed(asked))
    }

    /// Prefixes the name with `folder`, which is one component.
    pub fn in_folder(&self, folder: &BootName) -> BootName {
        BootName(format!("{folder}/{self}"))
    }

    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the name as a path relative to boot-images/.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(asked: &[u8]) -> Result<String, BadName> {
        BootName::parse(asked).map(|name| name.0)
    }

    #[test]
    fn spellings_of_one_name_are_one_name() {
        for asked in
            ["sub/x", "/sub/x", "//sub//x", "/./sub/./x", r"sub\x", r"\sub\x", r"\\.\sub/x", "./sub/x/"]
        {
            assert_eq!(parse(asked.as_bytes()).as_deref(), Ok("sub/x"), "{asked}");
        }
        assert_eq!(parse(b"/etc/passwd").as_deref(), Ok("etc/passwd"));
        assert_eq!(parse("Größe.efi".as_bytes()).as_deref(), Ok("Größe.efi"));
        assert_eq!(parse(b"...").as_deref(), Ok("..."), "dots alone are an ordinary name from three on");
    }

    #[test]
    fn a_name_is_never_url_decoded() {
        assert_eq!(parse(b"%2e%2e/x").as_deref(), Ok("%2e%2e/x"));
    }

    #[test]
    fn names_with_parent_components_are_refused() {
        for asked in ["..", "../x", r"..\x", "/../x", "sub/../../x", "sub/..", "sub/../x", r"sub\..\x"] {
            assert_eq!(parse(asked.as_bytes()), Err(BadName::Parent), "{asked}");
        }
    }

    #[test]
    fn empty_binary_and_long_names_are_refused() {
        for asked in ["", "/", ".", "//", r"\.\"] {
            assert_eq!(parse(asked.as_bytes()), Err(BadName::Empty), "{asked:?}");
        }
        for asked in ["a\0b", "a\nb", "\x1b[2J", "a\x7f", "a\u{85}b"] {
            assert_eq!(parse(asked.as_bytes()), Err(BadName::ControlCharacter), "{asked:?}");
        }
        assert_eq!(parse(b"Gr\xf6\xdfe"), Err(BadName::NotUtf8), "Latin-1");
        assert_eq!(parse(&[b'x'; 5000]), Err(BadName::TooLong));
        assert_eq!(parse(&[b'x'; 256]), Err(BadName::TooLong));
        assert!(parse(&[b'x'; 255]).is_ok());
        assert!(parse(&b"x/".repeat(512)).is_ok());
        assert_eq!(parse(&b"x/".repeat(513)), Err(BadName::TooLong));
    }

    #[test]
    fn junk_that_clients_append_is_cut_on_the_second_try() {
        for asked in [b"x\0".as_slice(), b"x\xff", b"x ", b"/x\0\xff\xff", b"x \0"] {
            assert_eq!(BootName::parse_trimmed(asked), Some(BootName("x".into())), "{asked:?}");
        }
        for asked in [b"x".as_slice(), b"", b"\0\0", b"..\xff", b"a\0b"] {
            assert_eq!(BootName::parse_trimmed(asked), None, "{asked:?}");
        }
    }

    #[test]
    fn readings_of_a_name_come_in_order() {
        let readings = |asked: &[u8]| BootName::candidates(asked).map(|name| name.0).collect::<Vec<_>>();
        assert_eq!(readings(b"x"), ["x"]);
        assert_eq!(readings(b"x "), ["x ", "x"], "a file may end in a space");
        assert_eq!(readings(b"x\xff"), ["x"]);
        assert_eq!(readings(b"..\xff"), [""; 0]);
        let name = BootName::parse(b"sub/x").unwrap();
        assert_eq!(name.in_folder(&BootName::parse(b"own").unwrap()).as_str(), "own/sub/x");
        assert_eq!(name.components().collect::<Vec<_>>(), ["sub", "x"]);
    }

    proptest! {
        #[test]
        fn a_clean_name_parses_to_itself(asked in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(name) = BootName::parse(&asked) {
                prop_assert_eq!(BootName::parse(name.as_str().as_bytes()), Ok(name.clone()));
                prop_assert!(name.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
            let _ = BootName::parse_trimmed(&asked);
        }
    }
}
