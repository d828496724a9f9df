//! The name of a boot file as a client asks for it, made into a clean name beneath boot-images/.
//!
//! This is the first of two fences: what is refused here never reaches the disk. The second is the kernel's
//! (`images/catalog.rs`), which alone can know about symlinks. A name is never URL-decoded: `%2e` is three characters.

use std::fmt;

/// A name beneath boot-images/: components joined by `/`, at least one, none of them empty, `.` or `..`; UTF-8
/// without control characters; at most 255 bytes a component (what Linux allows) and [`BootName::LIMIT`] in all.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BootName(String);

/// Why what a client asked for is not such a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BadName {
    /// No component is left.
    Empty,
    /// More than [`BootName::LIMIT`] bytes, or a component of more than 255.
    TooLong,
    /// Not UTF-8, as names on disk here are.
    NotUtf8,
    /// A NUL or another control character.
    ControlCharacter,
    /// It has a `..` component. Refused even where it would stay beneath the root: no firmware asks so.
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
    /// Bytes of the longest name, as asked for.
    pub const LIMIT: usize = 1024;
    const COMPONENT_LIMIT: usize = 255;

    /// Reads a name as a client sent it.
    ///
    /// `\` becomes `/` (Windows boot manager, shim); slashes at either end, `//` and `/./` collapse, so that an
    /// absolute name is one beneath boot-images/.
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

    /// The second try when the name as asked is bad or no file has it: without the NUL, 0xFF and space bytes at its
    /// end. `None` when there are none, or what is left is no name either.
    ///
    /// Old PXE ROMs read the boot file option past its end, and ask for the file's name with the next bytes of the
    /// DHCP packet behind it, 0xFF being the END option (netbootxyz/netboot.xyz#1198).
    pub fn parse_trimmed(asked: &[u8]) -> Option<BootName> {
        let junk = asked.iter().rev().take_while(|byte| matches!(byte, 0 | 0xff | b' ')).count();
        let (trimmed, _) = asked.split_at_checked(asked.len().checked_sub(junk)?)?;
        if junk == 0 { None } else { BootName::parse(trimmed).ok() }
    }

    /// What a client may have meant by `asked`, the likelier first: at most two names, none if it is no name at all.
    pub fn readings(asked: &[u8]) -> impl Iterator<Item = BootName> {
        BootName::parse(asked).ok().into_iter().chain(BootName::parse_trimmed(asked))
    }

    /// This name in the folder `folder`, which is one component.
    pub fn within(&self, folder: &BootName) -> BootName {
        BootName(format!("{folder}/{self}"))
    }

    /// Its components: at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The name, as a path relative to boot-images/.
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
    fn what_could_leave_the_root_is_refused() {
        for asked in ["..", "../x", r"..\x", "/../x", "sub/../../x", "sub/..", "sub/../x", r"sub\..\x"] {
            assert_eq!(parse(asked.as_bytes()), Err(BadName::Parent), "{asked}");
        }
    }

    #[test]
    fn what_no_file_is_called_is_refused() {
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
    fn what_a_client_may_have_meant_comes_in_order() {
        let readings = |asked: &[u8]| BootName::readings(asked).map(|name| name.0).collect::<Vec<_>>();
        assert_eq!(readings(b"x"), ["x"]);
        assert_eq!(readings(b"x "), ["x ", "x"], "a file may end in a space");
        assert_eq!(readings(b"x\xff"), ["x"]);
        assert_eq!(readings(b"..\xff"), [""; 0]);
        let name = BootName::parse(b"sub/x").unwrap();
        assert_eq!(name.within(&BootName::parse(b"own").unwrap()).as_str(), "own/sub/x");
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
