//! Options 124 and 125: vendor data by enterprise number (RFC 3925).

use crate::wire::dhcp::Options;
use crate::wire::option::code;

/// Returns the data of `enterprise` in option 124 (RFC 3925 section 3). There may be several.
pub fn class_data(options: &Options, enterprise: u32) -> impl Iterator<Item = &[u8]> {
    of_enterprise(options.get(code::VENDOR_IDENTIFYING_CLASS), enterprise)
}

/// Returns suboption `wanted` of `enterprise` in option 125 (RFC 3925 section 4).
pub fn suboption(options: &Options, enterprise: u32, wanted: u8) -> Option<&[u8]> {
    let mut parts = of_enterprise(options.get(code::VENDOR_IDENTIFYING_INFORMATION), enterprise);
    parts.find_map(|mut rest| {
        while let [number, len, tail @ ..] = rest {
            let (value, next) = tail.split_at_checked(usize::from(*len))?;
            if *number == wanted {
                return Some(value);
            }
            rest = next;
        }
        None
    })
}

/// Splits the value of option 124 or 125 into the numbers of enterprises with their data. A part that is cut short ends
/// it.
pub fn parts(value: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let [a, b, c, d, len, tail @ ..] = rest else { return None };
        let (data, next) = tail.split_at_checked(usize::from(*len))?;
        rest = next;
        Some((u32::from_be_bytes([*a, *b, *c, *d]), data))
    })
}

/// Splits the data of an enterprise in option 125 into suboptions; `None` if it has another form.
pub fn suboptions(data: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (mut all, mut rest) = (Vec::new(), data);
    while let [code, len, tail @ ..] = rest {
        let (value, next) = tail.split_at_checked(usize::from(*len))?;
        all.push((*code, value));
        rest = next;
    }
    rest.is_empty().then_some(all)
}

/// The data of `enterprise` in the value of an option.
fn of_enterprise(value: Option<&[u8]>, enterprise: u32) -> impl Iterator<Item = &[u8]> {
    parts(value.unwrap_or_default()).filter(move |(number, _)| *number == enterprise).map(|(_, data)| data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_25_vendor_data_is_found_by_its_enterprise() {
        let mut options = Options::default();
        options.push(124, &[0, 0, 0x11, 0x8b, 2, b'h', b'i', 0, 0, 0, 9, 1, b'x', 0, 0, 0x11, 0x8b, 1, b'z']);
        options.push(125, &[0, 0, 0x0d, 0xe9, 7, 1, 1, b'a', 2, 2, b'b', b'c', 0, 0, 0, 9, 3, 2, 1, b'q']);
        let data: Vec<&[u8]> = class_data(&options, 4491).collect();
        assert_eq!(data, [&b"hi"[..], b"z"]);
        assert_eq!(suboption(&options, 3561, 2), Some(&b"bc"[..]));
        assert_eq!(suboption(&options, 9, 2), Some(&b"q"[..]));
        assert_eq!((suboption(&options, 9, 1), suboption(&options, 4491, 1)), (None, None));
    }

    #[test]
    fn vendor_data_that_is_cut_short_ends_the_search() {
        for value in [&[0, 0, 0, 9, 5, 1, 1][..], &[0, 0, 0, 9], &[0, 0, 0, 9, 2, 1, 9], &[]] {
            let mut options = Options::default();
            options.push(125, value);
            assert_eq!(suboption(&options, 9, 1), None, "{value:?}");
        }
    }
}
