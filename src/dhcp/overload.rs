//! Option overload: options in the header fields `file` and `sname` (RFC 2131 section 4.1, RFC 3396 section 5). Called by
//! `option_space.rs` when the options field is full.

use crate::wire::dhcp::{Message, encoded_len};

/// The code that ends the options of a field.
const END: u8 = 255;
/// Maximum bytes of a value in one part of an option.
const MAX_PART: usize = 255;

/// The header fields that can take options, and the options that they have.
#[derive(Debug, Default)]
pub struct Overload {
    file: Option<Field>,
    sname: Option<Field>,
    /// Codes of the options that are in a field, at least in part.
    codes: Vec<u8>,
}

/// The options of one field.
#[derive(Debug)]
struct Field {
    bytes: Vec<u8>,
    /// Bytes left, not counting END.
    left: usize,
}

impl Overload {
    /// Encoded length of option 52, which must be in the options field.
    pub const LEN: usize = 3;
    /// Maximum bytes of one option in both fields, beside the part in the options field: 128 and 64 bytes, each with END
    /// and the code and length of a part.
    pub const MOST: usize = 128 + 64 - 2 * 3;

    /// The empty fields of `message`; `None` if it has none.
    pub fn of(message: &Message) -> Option<Overload> {
        let field = |bytes: &[u8]| {
            let left = bytes.len().saturating_sub(1);
            bytes
                .iter()
                .all(|byte| *byte == 0)
                .then(|| Field { bytes: Vec::with_capacity(bytes.len()), left })
        };
        let (file, sname) = (field(&message.file), field(&message.sname));
        (file.is_some() || sname.is_some()).then(|| Overload { file, sname, codes: Vec::new() })
    }

    /// Whether option `code` is in a field.
    pub fn has(&self, code: u8) -> bool {
        self.codes.contains(&code)
    }

    /// Takes an option into one field or, if it fits into neither, splits it between the options field, which has `left`
    /// bytes left, `file` and `sname` (RFC 3396 section 5). Returns the number of bytes of the value that belong in the
    /// options field; `None` if the option does not fit at all.
    pub fn take(&mut self, code: u8, value: &[u8], left: usize) -> Option<usize> {
        let len = encoded_len(code, value);
        let whole = self.fields().find(|field| len <= field.left).map(|field| field.put(code, value));
        if whole.is_some() {
            self.codes.push(code);
            return Some(0);
        }
        let here = value_bytes(left);
        let room = self.fields().fold(here, |sum, field| sum.saturating_add(value_bytes(field.left)));
        if value.len() > room {
            return None;
        }
        let mut rest = value.get(here..)?;
        for field in self.fields() {
            let (part, after) = rest.split_at(value_bytes(field.left).min(rest.len()));
            if !part.is_empty() {
                field.put(code, part);
            }
            rest = after;
        }
        self.codes.push(code);
        Some(here)
    }

    /// Writes the fields that have options into `message`. Returns the value of option 52; `None` if no field has any.
    pub fn write(self, message: &mut Message) -> Option<u8> {
        let written = |field: Option<Field>, bytes: &mut [u8]| match field {
            Some(field) if !field.bytes.is_empty() => {
                let with_end = field.bytes.into_iter().chain([END]);
                bytes.iter_mut().zip(with_end).for_each(|(byte, new)| *byte = new);
                true
            }
            _ => false,
        };
        let file = u8::from(written(self.file, &mut message.file));
        let sname = u8::from(written(self.sname, &mut message.sname));
        let fields = file | sname << 1;
        (fields > 0).then_some(fields)
    }

    fn fields(&mut self) -> impl Iterator<Item = &mut Field> + use<'_> {
        [&mut self.file, &mut self.sname].into_iter().flatten()
    }
}

impl Field {
    /// Adds an option or a part of one, which must fit.
    fn put(&mut self, code: u8, value: &[u8]) {
        self.left = self.left.saturating_sub(encoded_len(code, value));
        for part in value.chunks(MAX_PART) {
            self.bytes.push(code);
            self.bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            self.bytes.extend_from_slice(part);
        }
        if value.is_empty() {
            self.bytes.extend_from_slice(&[code, 0]);
        }
    }
}

/// Bytes of one value that fit into `space` bytes, with the code and the length of each part.
fn value_bytes(space: usize) -> usize {
    let whole = space / (MAX_PART + 2);
    let rest = space % (MAX_PART + 2);
    whole.saturating_mul(MAX_PART).saturating_add(rest.saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dhcp::BOOTREPLY;

    #[test]
    fn rfc2131_4_1_file_is_filled_before_sname() {
        let mut message = Message::new(BOOTREPLY);
        let mut overload = Overload::of(&message).unwrap();
        assert_eq!(overload.take(15, &[b'a'; 100], 0), Some(0));
        assert_eq!(overload.take(12, &[b'b'; 60], 0), Some(0));
        assert_eq!(overload.take(17, &[b'c'; 23], 0), Some(0), "into the rest of `file`");
        assert_eq!(overload.take(40, b"d", 0), None, "no room is left");
        assert!(overload.has(12) && !overload.has(40));
        assert_eq!(overload.write(&mut message), Some(3));
        assert_eq!((message.file[..2].to_vec(), message.file[127]), (vec![15, 100], END));
        assert_eq!((message.sname[..2].to_vec(), message.sname[62]), (vec![12, 60], END));
    }

    #[test]
    fn rfc3396_5_a_long_option_is_split_in_the_order_of_the_fields() {
        let mut message = Message::new(BOOTREPLY);
        let mut overload = Overload::of(&message).unwrap();
        let value: Vec<u8> = (0..=255).cycle().take(320).collect();
        // 200 bytes left hold 198 bytes of the value, `file` the next 122 of its 125.
        assert_eq!(overload.take(119, &value, 200), Some(198));
        assert_eq!(overload.write(&mut message), Some(1));
        assert_eq!(message.file[..4], [119, 122, 198, 199]);
        assert_eq!(value_bytes(257 + 2), 255);
        assert_eq!(value_bytes(1), 0);
    }

    #[test]
    fn a_field_with_a_name_takes_no_options() {
        let mut message = Message::new(BOOTREPLY);
        message.file[0] = b'x';
        let mut overload = Overload::of(&message).unwrap();
        assert_eq!(overload.take(15, b"lab", 0), Some(0));
        assert_eq!(overload.write(&mut message), Some(2));
        message.sname[0] = b'x';
        assert!(Overload::of(&message).is_none());
    }
}
