//! The token for changes through the web listener: the file `token` in the state folder. `lanboot token` creates and
//! replaces it, and the server reads it at each check, so a replaced token is invalid immediately.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use subtle::ConstantTimeEq;

use crate::store::{TOKEN_FILE, create_state_folder, give_to_owner};
use crate::types::to_hex;

/// Number of random bytes in a token: 256 bits.
const TOKEN_BYTES: usize = 32;
/// Length of a token as text: two hexadecimal digits per byte.
const TOKEN_DIGITS: usize = 2 * TOKEN_BYTES;

/// A token: 64 hexadecimal digits. `Debug` does not show it, so that it never gets into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new token with 256 bits from the operating system's random number generator.
    fn generate() -> Result<Token, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Token(to_hex(&bytes)))
    }

    fn parse(text: &str) -> Option<Token> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let is_token = text.len() == TOKEN_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_token.then(|| Token(text.to_owned()))
    }

    /// Whether `offered` is this token. Takes the same time for each wrong token of the right length, so that the answer's
    /// delay does not reveal how many digits are right.
    pub fn matches(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }

    /// The token as the text that clients send.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The reason why there is no token, with advice.
#[derive(Debug)]
pub struct TokenError(String);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TokenError {}

fn token_path(state: &Path) -> PathBuf {
    state.join(TOKEN_FILE)
}

/// Reads the token in the folder `state`. `None` if no token was created; every token is wrong then.
///
/// # Errors
/// The file cannot be read, or its content is no token.
pub fn read(state: &Path) -> Result<Option<Token>, TokenError> {
    let path = token_path(state);
    // The folder belongs to the server's user. Root must not be led to another file or wait for the writer of a FIFO.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path, &error)),
    };
    let mut text = String::new();
    // One more than a token with its line end, so that a longer file is no token.
    let limit = TOKEN_DIGITS as u64 + 2;
    file.take(limit).read_to_string(&mut text).map_err(|error| failed("read", &path, &error))?;
    match Token::parse(&text) {
        Some(token) => Ok(Some(token)),
        None => Err(TokenError(format!(
            "{} is not a token of lanboot: `lanboot token --rotate` replaces it",
            path.display()
        ))),
    }
}

/// Reads the token in the folder `state`, after creating it if there is none.
///
/// # Errors
/// The token can neither be read nor created.
pub fn read_or_create(state: &Path) -> Result<Token, TokenError> {
    match read(state)? {
        Some(token) => Ok(token),
        None => {
            let token = store(state, Existing::Keep)?;
            // Another process may have created one meanwhile.
            Ok(read(state)?.unwrap_or(token))
        }
    }
}

/// Replaces the token in the folder `state` with a new one. The old one is invalid from now on.
///
/// # Errors
/// The token cannot be stored; the old one is still valid.
pub fn rotate(state: &Path) -> Result<Token, TokenError> {
    store(state, Existing::Replace)
}

/// The treatment of a token that exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// Stores a new token atomically: a reader finds the old token or all of the new one.
fn store(state: &Path, existing: Existing) -> Result<Token, TokenError> {
    let path = token_path(state);
    let fail = |error: &std::io::Error| failed("write", &path, error);
    let token = Token::generate()
        .map_err(|error| TokenError(format!("the operating system gives no random bytes: {error}")))?;
    create_state_folder(state).map_err(|error| fail(&error))?;
    // Temporary files have the mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(state).map_err(|error| fail(&error))?;
    writeln!(new, "{}", token.as_str()).map_err(|error| fail(&error))?;
    give_to_owner(new.as_file(), state);
    new.as_file().sync_all().map_err(|error| fail(&error))?;
    let stored = match existing {
        Existing::Replace => new.persist(&path).map(drop),
        Existing::Keep => new.persist_noclobber(&path).map(drop),
    };
    match stored {
        Err(error) if existing == Existing::Keep && error.error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(fail(&error.error)),
        Ok(()) => File::open(state).and_then(|folder| folder.sync_all()).map_err(|error| fail(&error))?,
    }
    Ok(token)
}

fn failed(attempt: &str, path: &Path, error: &std::io::Error) -> TokenError {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => "; only root and the user that the server runs as may; try with sudo",
        _ => "",
    };
    TokenError(format!("cannot {attempt} the token {}: {error}{advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_token_is_created_once_and_private() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("state");
        assert!(read(&state).unwrap().is_none());
        let token = read_or_create(&state).unwrap();
        assert_eq!(read_or_create(&state).unwrap(), token);
        let path = state.join(TOKEN_FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", token.as_str()));
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn only_the_newest_token_matches() {
        let base = tempfile::tempdir().unwrap();
        let old = read_or_create(base.path()).unwrap();
        let new = rotate(base.path()).unwrap();
        assert_eq!(read(base.path()).unwrap(), Some(new.clone()));
        assert!(new.matches(new.as_str().as_bytes()));
        for wrong in [old.as_str(), "", &new.as_str()[1..], &format!("{}0", new.as_str())] {
            assert!(!new.matches(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_damaged_token_is_an_error_until_it_is_replaced() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join(TOKEN_FILE);
        let digits = "0123456789abcdef".repeat(4);
        let contents = ["", "secret\n", &digits[1..], &format!("{digits}0"), &format!("{digits}\n\n\n"), "ä"];
        for content in contents {
            std::fs::write(&path, content).unwrap();
            let error = read_or_create(base.path()).unwrap_err().to_string();
            assert!(error.contains("lanboot token --rotate"), "{content:?}: {error}");
        }
        rotate(base.path()).unwrap();
        assert!(read(base.path()).unwrap().is_some());
        std::fs::write(&path, &digits).unwrap();
        assert!(read(base.path()).unwrap().is_some(), "the line end may be missing");
    }

    #[test]
    fn a_link_in_place_of_the_token_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let other = base.path().join("other");
        std::fs::write(&other, "0".repeat(TOKEN_DIGITS)).unwrap();
        symlink(&other, base.path().join(TOKEN_FILE)).unwrap();
        assert!(read(base.path()).is_err());
        rotate(base.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "0".repeat(TOKEN_DIGITS));
    }

    #[test]
    fn logs_do_not_show_a_token() {
        let token = Token::generate().unwrap();
        assert!(!format!("{token:?}").contains(token.as_str()));
    }
}
