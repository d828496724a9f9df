//! Decodes the request target (RFC 9112 section 3.2) into the name of a file.

/// The reason why a request target names no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadTarget {
    /// The target is neither a path nor an absolute URI with one.
    NotAPath,
    /// A `%` is not followed by two hexadecimal digits.
    BadEscape,
    /// The path contains a NUL, another control character, a backslash or `#`, which no client sends in a file name.
    BadCharacter,
    /// The path has a component `..`, escaped or not. Clients must remove these themselves (RFC 3986 section 5.2.4).
    Parent,
}

/// Returns the file name that `target` requests: its path without the query, percent-decoded once. `boot::name`
/// validates the name, as for TFTP, so `//` counts as `/`. EDK2 and shim request `//grubx64.efi` and cannot follow a
/// redirection.
pub fn name(target: &str) -> Result<Vec<u8>, BadTarget> {
    let path = path(target).ok_or(BadTarget::NotAPath)?;
    let mut name = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'#' => return Err(BadTarget::BadCharacter),
            b'%' => {
                let two = (bytes.next().and_then(digit), bytes.next().and_then(digit));
                let (Some(high), Some(low)) = two else { return Err(BadTarget::BadEscape) };
                high << 4 | low
            }
            other => other,
        };
        if byte.is_ascii_control() || byte == b'\\' {
            return Err(BadTarget::BadCharacter);
        }
        name.push(byte);
    }
    if name.split(|byte| *byte == b'/').any(|component| component == b"..") {
        return Err(BadTarget::Parent);
    }
    Ok(name)
}

/// Returns the authority of an absolute target: `server:80` in `http://server:80/x`. Returns `None` for a path.
pub fn authority(target: &str) -> Option<&str> {
    let (before_query, _) = target.split_once('?').unwrap_or((target, ""));
    let (scheme, rest) = before_query.split_once("://")?;
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_scheme.then(|| rest.split('/').next().unwrap_or_default())
}

/// Returns the path of a target in origin form (`/x?y`) or absolute form (`http://server/x?y`).
fn path(target: &str) -> Option<&str> {
    let (before_query, _) = target.split_once('?').unwrap_or((target, ""));
    if before_query.starts_with('/') {
        return Some(before_query);
    }
    let (scheme, rest) = before_query.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    Some(rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
