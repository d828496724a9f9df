//! Maps a name or a URL of the configuration to a file of the images folder. The other lints use it to decide which
//! files they can check.

use crate::boot::loader::target::{LocalUrl, is_url};
use crate::config::settings::Config;

/// The file of the images folder that `name` refers to: the name itself, or the path of a URL of this server. Returns
/// `None` for files elsewhere, and for names that depend on the client.
pub(in crate::config) fn local_name<'a>(name: &'a str, config: &Config) -> Option<&'a str> {
    let path = match is_url(name) {
        false => name,
        true => {
            let url = LocalUrl::of(name, config.file_server_ports()).filter(LocalUrl::is_served)?;
            url.path.split(['?', '#']).next()?.trim_start_matches('/')
        }
    };
    // A percent escape in a URL is not part of the file name, and an empty path is a folder.
    let is_known = !path.is_empty() && !path.contains('{') && (path == name || !path.contains('%'));
    is_known.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_this_server_map_to_local_files() {
        let config = crate::config::load("dhcp: {mode: off}\nhttp: {port: 8080}").unwrap();
        let local = |name| local_name(name, &config);
        for name in ["a/b.efi", "http://{server}:8080/a/b.efi", "HTTP://{server}:8080//a/b.efi?x#y"] {
            assert_eq!(local(name), Some("a/b.efi"), "{name}");
        }
        assert_eq!(local("tftp://{server}/x"), Some("x"));
        assert_eq!(local("tftp://{server}:69/x"), Some("x"));
        for elsewhere in [
            "http://{server}/x",
            "http://{server}:80/x",
            "https://{server}:8080/x",
            "http://10.0.0.1:8080/x",
            "http://{server}.example:8080/x",
            "http://{server}:8080/%41",
            "http://{server}:8080/{mac}/x",
            "http://{server}:8080/",
            "http://{server}:8080",
            "{arch}/x",
            "",
        ] {
            assert_eq!(local(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(local("50%.efi"), Some("50%.efi"));
        let off = crate::config::load("dhcp: {mode: off}\nhttp: off").unwrap();
        assert_eq!(local_name("http://{server}/x", &off), None);
    }
}
