//! Values that are written in the file, apart from those that are computed from a message.

use super::expression::Data;

/// A value in the file: bytes, or a number whose width depends on the other side.
pub(super) enum Literal {
    Bytes(Vec<u8>),
    Number(i64),
}

impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        match (self, other) {
            (Literal::Bytes(one), Literal::Bytes(two)) => one == two,
            (Literal::Number(one), Literal::Number(two)) => one == two,
            _ => false,
        }
    }
}

/// Returns the value of `data`, if it is the same for all messages.
pub(super) fn literal(data: &Data) -> Option<Literal> {
    match data {
        Data::Bytes(bytes) => Some(Literal::Bytes(bytes.clone())),
        Data::Number(number) => Some(Literal::Number(*number)),
        Data::Concat(parts) => {
            let parts = parts.iter().map(|part| match literal(part)? {
                Literal::Bytes(bytes) => Some(bytes),
                Literal::Number(_) => None,
            });
            parts.collect::<Option<Vec<Vec<u8>>>>().map(|parts| Literal::Bytes(parts.concat()))
        }
        _ => None,
    }
}
