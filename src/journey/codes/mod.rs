//! The messages that machines show on their screens when a boot fails, with their meaning and the verdicts that they go
//! with. `lanboot why CODE` and docs/codes.md are made from the table.
//!
//! Sources: PXE-E codes of BIOS ROMs are those of the PXE 2.1 specification and of Intel's Boot Agent; those of UEFI are from
//! EDK2 (`NetworkPkg/UefiPxeBcDxe`), which gives some codes another meaning. iPXE's numbers are errors of POSIX with the
//! place in the source (`include/errno.h`).

mod code;
mod page;
mod table;

pub use code::{ScreenCode, ShownBy};
pub use page::page;
use table::codes;

/// Minimum number of characters by which a message without a code is found.
const MIN_TEXT: usize = 6;
/// Number of hexadecimal digits of a number of iPXE.
const IPXE_DIGITS: usize = 8;

/// The rows that fit what a person typed: a code with or without `PXE-`, in any case; a number of iPXE, also in its URL or in
/// the whole line; or a part of a message. The most exact rows come first. Empty if `text` is no such thing.
pub fn find(text: &str) -> Vec<&'static ScreenCode> {
    if let Some(code) = pxe_code(text) {
        return rows(|row| row.code == code);
    }
    if let Some(number) = ipxe_number(text) {
        // The last two digits are those of the platform: BIOS or UEFI.
        let (exact, family) = (number.get(..6).unwrap_or_default(), number.get(..2).unwrap_or_default());
        let exact = rows(|row| row.shown_by == ShownBy::Ipxe && row.code == exact);
        let general = rows(|row| row.shown_by == ShownBy::Ipxe && row.code == family);
        return exact.into_iter().chain(general).collect();
    }
    let wanted = simplified(text);
    if wanted.len() < MIN_TEXT {
        return Vec::new();
    }
    rows(|row| {
        let message = simplified(row.message);
        message.contains(&wanted) || message.len() >= MIN_TEXT && wanted.contains(&message)
    })
}

fn rows(fits: impl Fn(&ScreenCode) -> bool) -> Vec<&'static ScreenCode> {
    codes().filter(|row| fits(row)).collect()
}

/// `PXE-E18` in `pxe e18`, `E18` or `>>Start PXE over IPv4. PXE-E18: Server response timeout.`; also the `T01` and `M0F` of
/// ROMs.
fn pxe_code(text: &str) -> Option<String> {
    let upper = text.trim().to_ascii_uppercase();
    let mut after_pxe =
        upper.split("PXE").skip(1).filter_map(|after| code_at(after.trim_start_matches(['-', ' ', '_'])));
    // Without the word before it, a code has a digit: `tea` and `mad` are words.
    let alone = || code_at(&upper).filter(|code| code.contains(|c: char| c.is_ascii_digit()));
    after_pxe.next().or_else(alone).map(|code| format!("PXE-{code}"))
}

/// A letter and two hexadecimal digits at the beginning of `text`.
fn code_at(text: &str) -> Option<&str> {
    let code = text.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let mut characters = code.chars();
    let is_code = matches!(characters.next(), Some('E' | 'T' | 'M'))
        && code.len() == 3
        && characters.all(|c| c.is_ascii_hexdigit());
    is_code.then_some(code)
}

/// The number in `2d0c613b`, `0x2d0c613b`, `http://ipxe.org/2d0c613b` or a line that contains one of them.
fn ipxe_number(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let mut numbers = words.map(|word| word.strip_prefix("0x").unwrap_or(word)).filter(|word| {
        word.len() == IPXE_DIGITS
            && word.chars().all(|c| c.is_ascii_hexdigit())
            && word.chars().any(|c| c.is_ascii_digit())
    });
    numbers.next().map(str::to_owned)
}

/// The text in lower case, with single spaces and without punctuation at its ends.
fn simplified(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    words.join(" ").trim_matches(|c: char| c.is_ascii_punctuation()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&'static str, ShownBy)> {
        find(text).into_iter().map(|row| (row.code, row.shown_by)).collect()
    }

    #[test]
    fn codes_are_found_as_people_type_them() {
        for text in [
            "PXE-E18",
            "pxe-e18",
            "E18",
            "PXE E18",
            "PXE-E18: Server response timeout.",
            ">>Start PXE over IPv4. PXE-E18:",
        ] {
            assert_eq!(found(text), [("PXE-E18", ShownBy::Uefi)], "{text}");
        }
        let both = found("PXE-E53");
        assert_eq!(both, [("PXE-E53", ShownBy::Uefi), ("PXE-E53", ShownBy::Bios)]);
        assert_eq!(found("pxe-m0f"), [("PXE-M0F", ShownBy::Bios)]);
        assert_eq!(found("tea"), []);
        assert_eq!(found("PXE-E7F"), []);
    }

    #[test]
    fn numbers_of_ipxe_are_found_with_their_family() {
        for text in
            ["2d0c613b", "http://ipxe.org/2d0c613b", "No such file or directory (http://ipxe.org/2D0C613B)"]
        {
            assert_eq!(found(text), [("2d0c61", ShownBy::Ipxe), ("2d", ShownBy::Ipxe)], "{text}");
        }
        assert_eq!(found("ipxe.org/4c0a6999"), [("4c", ShownBy::Ipxe)], "a number that is not listed");
        assert_eq!(found("2d0c618e")[0].0, "2d0c61", "the same with UEFI");
        assert_eq!(found("ipxe.org/ff000001"), []);
    }

    #[test]
    fn messages_without_a_code_are_found_by_their_words() {
        assert!(found("Access Denied").contains(&("", ShownBy::Uefi)));
        assert!(found("error: you need to load the kernel first").contains(&("", ShownBy::Grub)));
        assert!(found("Verification failed: (0x1A) Security Violation").contains(&("", ShownBy::Shim)));
        assert_eq!(found("no"), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn the_table_is_complete_and_has_no_row_twice() {
        let all: Vec<&ScreenCode> = codes().collect();
        for (place, row) in all.iter().enumerate() {
            let ScreenCode { shown_by, code, message, meaning, .. } = row;
            assert!(!meaning.is_empty() && meaning.ends_with('.'), "{code} {message}");
            assert!(!code.is_empty() || message.len() >= MIN_TEXT, "{meaning}");
            let is_same = |other: &ScreenCode| {
                (other.shown_by, other.code, other.message) == (*shown_by, code, message)
            };
            assert!(!all[..place].iter().any(|other| is_same(other)), "{code} {message} twice");
            let typed = match code.len() {
                0 => (*message).to_owned(),
                7 => (*code).to_owned(),
                _ => format!("{code:0<8}"),
            };
            assert!(find(&typed).contains(row), "{code} {message}");
        }
    }
}
