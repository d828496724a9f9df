//! Options 124 and 125, which have a part for each enterprise (RFC 3925): the parts of all levels are sent together.
//! `reply.rs` calls it. A machine may be in the classes of several manufacturers, each with an option 125.

use crate::dhcp::level::Level;
use crate::dhcp::options::OptionValue;
use crate::wire::option::code;
use crate::wire::vendor;

/// The enterprises with their data, in the order in which they are sent.
type Enterprises = Vec<(u32, Vec<u8>)>;

/// Merges option `code` of `levels`, which are in the order of precedence: each level adds the enterprises that none
/// before it has. In option 125, where it has suboptions, it adds those too. A level that removes the option ends
/// the search. `None` if no level sets the option.
pub(super) fn merged(levels: &[&Level], code: u8) -> Option<Vec<u8>> {
    let values =
        levels.iter().filter_map(|level| level.options.get(code)).take_while(|value| value.is_sent());
    let mut values = values.filter_map(|value| match value {
        // These options have no `{server}`.
        OptionValue::Bytes(bytes) | OptionValue::WithServer { bytes, .. } => Some(&bytes[..]),
        OptionValue::Removed => None,
    });
    let first = values.next()?;
    let mut all: Enterprises = Vec::new();
    let add = |all: &mut Enterprises, value: &[u8]| {
        for (number, data) in vendor::parts(value) {
            match all.iter_mut().find(|(known, _)| *known == number) {
                None => all.push((number, data.to_vec())),
                Some((_, known)) if code == code::VENDOR_IDENTIFYING_INFORMATION => {
                    add_suboptions(known, data);
                }
                Some(_) => {}
            }
        }
    };
    let mut others = values.filter(|value| is_whole(value)).peekable();
    if others.peek().is_none() || !is_whole(first) {
        return Some(first.to_vec());
    }
    add(&mut all, first);
    others.for_each(|value| add(&mut all, value));
    Some(encode(&all))
}

/// Adds the suboptions of `data` that `known` does not have, as far as they fit.
fn add_suboptions(known: &mut Vec<u8>, data: &[u8]) {
    let (Some(have), Some(more)) = (vendor::suboptions(known), vendor::suboptions(data)) else { return };
    let codes: Vec<u8> = have.iter().map(|(code, _)| *code).collect();
    for (code, value) in more {
        let len = known.len().saturating_add(value.len()).saturating_add(2);
        if let Ok(size) = u8::try_from(value.len())
            && !codes.contains(&code)
            && u8::try_from(len).is_ok()
        {
            known.extend([code, size]);
            known.extend_from_slice(value);
        }
    }
}

/// Whether the value consists of enterprises alone, as the configuration demands.
fn is_whole(value: &[u8]) -> bool {
    let len = |(_, data): (u32, &[u8])| data.len().saturating_add(5);
    !value.is_empty() && vendor::parts(value).map(len).sum::<usize>() == value.len()
}

fn encode(all: &Enterprises) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, data) in all {
        let Ok(len) = u8::try_from(data.len()) else { continue };
        bytes.extend(number.to_be_bytes());
        bytes.push(len);
        bytes.extend_from_slice(data);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(code: u8, value: &[u8]) -> Level {
        Level { options: [(code, value.to_vec())].into(), ..Level::default() }
    }

    #[test]
    fn rfc3925_4_levels_add_enterprises_and_suboptions() {
        let high = level(125, &[0, 0, 0, 1, 3, 1, 1, b'a']);
        let low = level(125, &[0, 0, 0, 2, 3, 9, 1, b'z', 0, 0, 0, 1, 6, 1, 1, b'b', 2, 1, b'c']);
        let both = [0, 0, 0, 1, 6, 1, 1, b'a', 2, 1, b'c', 0, 0, 0, 2, 3, 9, 1, b'z'];
        assert_eq!(merged(&[&high, &low], 125).as_deref(), Some(&both[..]));
        assert_eq!(merged(&[&high], 125).as_deref(), Some(&[0, 0, 0, 1, 3, 1, 1, b'a'][..]));
        let mut removed = Level::default();
        removed.options.insert(125, OptionValue::Removed);
        assert_eq!(merged(&[&removed, &low], 125), None);
        assert_eq!(merged(&[&high, &removed, &low], 125).as_deref(), Some(&[0, 0, 0, 1, 3, 1, 1, b'a'][..]));
        assert_eq!(merged(&[&high], 124), None);
    }

    #[test]
    fn rfc3925_3_data_of_option_124_is_not_mixed() {
        let (high, low) =
            (level(124, &[0, 0, 0, 1, 1, b'a']), level(124, &[0, 0, 0, 1, 1, b'b', 0, 0, 0, 2, 1, b'c']));
        let both = [0, 0, 0, 1, 1, b'a', 0, 0, 0, 2, 1, b'c'];
        assert_eq!(merged(&[&high, &low], 124).as_deref(), Some(&both[..]));
    }
}
