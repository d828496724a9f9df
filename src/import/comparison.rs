//! Conditions that a part of a field, or an option, has a value. The importers of Kea and dhcpd call it.

use crate::import::condition::Condition;
use crate::import::field::Pattern;

/// Returns the condition that the bytes of a field from `range.0` on, `range.1` of them or all, equal `literal`. A
/// negative start counts from the end. `fits` makes the condition that the field fits a pattern.
pub(super) fn part_equals(
    range: (i64, Option<i64>),
    literal: &[u8],
    fits: &dyn Fn(Pattern) -> Result<Condition, String>,
) -> Result<Condition, String> {
    const TOO_LONG: i64 = 1024;
    let (start, length) = range;
    if start.abs() > TOO_LONG || length.is_some_and(|length| !(0..=TOO_LONG).contains(&length)) {
        return Err("`match` cannot compare this part of a field".to_owned());
    }
    let (count, skip) = (literal.len(), usize::try_from(start.unsigned_abs()).unwrap_or(0));
    let length = length.and_then(|length| usize::try_from(length).ok());
    if length == Some(0) {
        return Ok(if count == 0 { Condition::Always } else { Condition::Never });
    }
    if length.is_some_and(|length| count > length) {
        return Ok(Condition::Never);
    }
    if start >= 0 {
        if count == 0 {
            return Ok(fits(Pattern::longer_than(skip))?.negated());
        }
        // A shorter text equals the literal only if the field ends there.
        return fits(Pattern::at(skip, literal, length == Some(count)));
    }
    // From the end: the part is empty if the field is shorter than that.
    let reach = length.map_or(skip, |length| length.min(skip));
    match count {
        0 => Ok(fits(Pattern::longer_than(skip.saturating_sub(1)))?.negated()),
        _ if count == reach => fits(Pattern::before_end(literal, skip - reach)),
        _ => Ok(Condition::Never),
    }
}

/// Returns the condition that option `code` fits `pattern`, under the key of `match` that people would use.
pub(super) fn option_fits(code: u8, pattern: Pattern) -> Condition {
    let key = match (code, pattern.bytes()) {
        (60, _) => "vendor_class".to_owned(),
        (61, _) => "client_id".to_owned(),
        (77, _) if pattern.is_text() => "user_class".to_owned(),
        // 7 and 9 mean the same to `arch`, and a client without the option is a `bios` there.
        (93, Some([high, low])) if !matches!((high, low), (0, 0 | 7 | 9)) => "arch".to_owned(),
        _ => format!("option.{code}"),
    };
    Condition::Field(key, pattern)
}
