//! The order of kernel versions: numbers by value, `-rc1` before the release.

use std::cmp::Ordering;

/// Compares two versions such as `6.1.0-9-amd64` and `6.1.0-10-amd64`.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    // Debian's package versions have a tilde there, because a release candidate comes before its release.
    let (a, b) = (a.replace("-rc", "~"), b.replace("-rc", "~"));
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let order = compare_text(&mut a, &mut b).then_with(|| compare_number(&mut a, &mut b));
        if order.is_ne() || (a.is_empty() && b.is_empty()) {
            return order;
        }
    }
}

/// Compares and removes the text before the next digit.
fn compare_text(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let (x, y) = (take(a, |byte| !byte.is_ascii_digit()), take(b, |byte| !byte.is_ascii_digit()));
    // A tilde comes before the end, and the end before everything else.
    let weight =
        |byte: Option<&u8>| byte.map_or(1, |byte| if *byte == b'~' { 0 } else { u16::from(*byte) + 2 });
    (0..=x.len().max(y.len()))
        .map(|i| weight(x.get(i)).cmp(&weight(y.get(i))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares and removes the digits at the beginning by their value.
fn compare_number(a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let value = |text: &mut &[u8]| {
        let digits = take(text, u8::is_ascii_digit);
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.get(zeros..).unwrap_or_default().to_vec()
    };
    let (x, y) = (value(a), value(b));
    x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
}

fn take<'t>(text: &mut &'t [u8], wanted: impl Fn(&u8) -> bool) -> &'t [u8] {
    let end = text.iter().position(|byte| !wanted(byte)).unwrap_or(text.len());
    let (taken, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    *text = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let sorted = [
            "",
            "0-rescue-1f",
            "5.10.0-28-amd64",
            "6.1.0-9-amd64",
            "6.1.0-10-amd64",
            "6.1.0-10-cloud-amd64",
            "6.12-rc1-amd64",
            "6.12-rc10-amd64",
            "6.12-amd64",
            "6.12.3-amd64",
            "10.0",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare("6.01", "6.1"), Ordering::Equal);
    }
}
