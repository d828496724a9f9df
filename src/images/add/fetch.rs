//! Copies a file of this computer, or of a web server, into a draft. Servers are asked by curl, which knows TLS,
//! proxies and redirects.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::images::add::progress::Progress;
use crate::images::add::staging::Draft;

/// Bytes of the largest file: that of a DVD image, and then some.
const MAX_FILE: u64 = 16 * 1024 * 1024 * 1024;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Bytes of curl's message that are read.
const MAX_SAID: u64 = 4096;

/// Copies the file at `path`.
///
/// # Errors
/// It is not there, no file, or too large; or the draft cannot be written.
pub fn copy(path: &Path, draft: &mut Draft) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.is_dir() {
        return Err(format!("{} is a folder: name the files in it", path.display()));
    }
    let progress = Progress::of_bytes(&path.display().to_string(), meta.len());
    pour(&mut file, draft, &progress).map_err(|why| format!("cannot copy {}: {why}", path.display()))
}

/// Whether `text` is a URL that [`download`] takes.
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// `url` without what may be a secret: who downloads it, the query, and the fragment.
pub fn without_secrets(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Downloads `url`. Redirects are followed, but none from HTTPS to HTTP.
///
/// # Errors
/// There is no curl; the server does not answer, or says no; the file is cut short or too large; or the draft cannot be
/// written.
pub fn download(url: &str, draft: &mut Draft) -> Result<(), String> {
    let protocols = if url.starts_with("https:") { "=https" } else { "=http,https" };
    let mut command = Command::new("curl");
    // --disable, which must come first: no ~/.curlrc. Slower than one byte in a minute is dead.
    command.args([
        "--disable",
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--globoff",
        "--max-redirs",
        "10",
    ]);
    command.args(["--proto", "=http,https", "--proto-redir", protocols, "--connect-timeout", "30"]);
    command.args(["--speed-limit", "1", "--speed-time", "60", "--url", url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!(
            "downloading needs curl (on Debian or Ubuntu: sudo apt-get install curl); or download {url} yourself, and \
             `lanboot images add FILE`"
        ),
        _ => format!("cannot run curl: {error}"),
    })?;
    let poured = match child.stdout.take() {
        Some(mut output) => pour(&mut output, draft, &Progress::of_unknown(url)),
        None => Ok(()),
    };
    if poured.is_err() {
        // It may have ended already.
        let _ = child.kill();
    }
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        let _ = errors.take(MAX_SAID).read_to_string(&mut said);
    }
    let status = child.wait().map_err(|error| format!("cannot run curl: {error}"))?;
    poured.map_err(|why| format!("cannot download {url}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("cannot download {url}: {}", said.trim())) }
}

fn pour(from: &mut impl Read, draft: &mut Draft, progress: &Progress) -> Result<(), String> {
    let (mut chunk, mut left) = (vec![0; CHUNK], MAX_FILE);
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
        };
        left = left.checked_sub(read as u64).ok_or("it is larger than 16 GiB")?;
        draft
            .write_all(chunk.get(..read).unwrap_or_default())
            .map_err(|error| format!("cannot write: {error}"))?;
        progress.add(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_may_have_of_secrets_goes() {
        for (url, bare) in [
            ("http://x/y/z.efi", "http://x/y/z.efi"),
            ("https://user:secret@x:8443/y?token=secret#f", "https://x:8443/y"),
            ("https://user@x?a", "https://x"),
            ("http://x/a@b", "http://x/a@b"),
        ] {
            assert_eq!(without_secrets(url), bare, "{url}");
        }
    }
}
