//! Copies a local file or a URL into a draft, for `lanboot images add`. Downloads use curl, which supports TLS,
//! proxies and redirects.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::images::add::progress::Progress;
use crate::images::add::staging::Draft;

/// Maximum size of a file in bytes, larger than any DVD image.
const MAX_FILE: u64 = 16 * 1024 * 1024 * 1024;
/// Number of bytes per read.
const CHUNK: usize = 64 * 1024;
/// Maximum number of bytes of curl's error message that are read.
const MAX_ERROR_TEXT: u64 = 4096;

/// Copies the file at `path`.
///
/// # Errors
/// The file does not exist, is a folder or too large; or the draft cannot be written.
pub fn copy(path: &Path, draft: &mut Draft) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.is_dir() {
        return Err(format!("{} is a folder: name the files in it", path.display()));
    }
    let progress = Progress::of_bytes(&path.display().to_string(), meta.len());
    copy_stream(&mut file, draft, &progress).map_err(|why| format!("cannot copy {}: {why}", path.display()))
}

/// Whether `text` is a URL that [`download`] accepts.
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// `url` without parts that may be secret: user and password, the query, and the fragment.
pub fn without_secrets(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Downloads `url`. Redirects are followed, but never from HTTPS to HTTP.
///
/// # Errors
/// There is no curl, the server fails or refuses, the file is cut short or too large, or the draft cannot be written.
pub fn download(url: &str, draft: &mut Draft) -> Result<(), String> {
    let protocols = if url.starts_with("https:") { "=https" } else { "=http,https" };
    let mut command = Command::new("curl");
    // `--disable` ignores ~/.curlrc and must come first. A transfer below one byte per second for a minute is
    // aborted.
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
    let copied = match child.stdout.take() {
        Some(mut output) => copy_stream(&mut output, draft, &Progress::of_unknown(url)),
        None => Ok(()),
    };
    if copied.is_err() {
        // curl may have exited already.
        let _ = child.kill();
    }
    let mut error_text = String::new();
    if let Some(errors) = child.stderr.take() {
        let _ = errors.take(MAX_ERROR_TEXT).read_to_string(&mut error_text);
    }
    let status = child.wait().map_err(|error| format!("cannot run curl: {error}"))?;
    copied.map_err(|why| format!("cannot download {url}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("cannot download {url}: {}", error_text.trim())) }
}

fn copy_stream(from: &mut impl Read, draft: &mut Draft, progress: &Progress) -> Result<(), String> {
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
    fn secrets_are_removed_from_urls() {
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
