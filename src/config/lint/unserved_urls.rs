//! Which file of the images folder a name or a URL of the configuration is.

use crate::boot::loader::target::{OwnUrl, is_url};
use crate::config::lint::mapped_files::{mapped, problems_at};
use crate::config::sections::targets;
use crate::config::{Config, Problem};

/// The file of the images folder that `name` is: the name itself, or the path of a URL of the server that `config` is
/// of. `None` for what lies elsewhere, or is known only when a client asks.
pub(in crate::config) fn local_name<'a>(name: &'a str, config: &Config) -> Option<&'a str> {
    let path = match is_url(name) {
        false => name,
        true => {
            let url = OwnUrl::of(name, config.served()).filter(OwnUrl::is_served)?;
            url.path.split(['?', '#']).next()?.trim_start_matches('/')
        }
    };
    // An escape is no letter of the name, and a folder is no file.
    let is_known = !path.is_empty() && !path.contains('{') && (path == name || !path.contains('%'));
    is_known.then_some(path)
}

/// The URLs with `{server}` in `config` that it does not serve, because the protocol is off or has another port, as
/// problems of the file whose `text` it was loaded from.
pub fn unserved_problems(config: &Config, text: &str) -> Vec<Problem> {
    let boot = mapped(config).into_iter().map(|file| (file.name, file.key));
    let all = boot.chain(targets::named(&config.targets).into_iter().map(|(name, key, _)| (name, key)));
    let unserved = all.filter_map(|(name, key)| {
        let OwnUrl { scheme, served, port, .. } =
            OwnUrl::of(&name, config.served()).filter(|url| !url.is_served())?;
        let what = match served {
            Some(served) => format!("{scheme} is served on port {served}, not on {port}"),
            None => format!("`{scheme}` is off"),
        };
        let advice = "if another program on this computer serves it, write the address instead of {server}";
        Some((key, format!("nobody serves {name}, for {what}; {advice}")))
    });
    problems_at(text, unserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_this_server_is_a_file_of_its_folder() {
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
    #[test]
    fn a_url_of_this_server_that_nobody_serves_is_a_problem() {
        let problems = |more: &str, url: &str| {
            let text = format!(
                "dhcp: {{mode: proxy}}\nboot: {{ipxe: boot.ipxe, arch: {{uefi-x64-http: '{url}'}}}}\n\
                 targets: {{a: {{kernel: '{url}'}}}}\n{more}"
            );
            let found = unserved_problems(&crate::config::load(&text).unwrap(), &text);
            found.into_iter().map(|problem| (problem.path, problem.message)).collect::<Vec<_>>()
        };
        let advice = "if another program on this computer serves it, write the address instead of {server}";
        let why = format!(
            "nobody serves http://{{server}}/x.efi, for http is served on port 18089, not on 80; {advice}"
        );
        assert_eq!(
            problems("http: {port: 18089}", "http://{server}/x.efi"),
            [("boot.arch.uefi-x64-http".to_owned(), why.clone()), ("targets.a.kernel".to_owned(), why)]
        );
        let off = &problems("http: off", "http://{server}:8080/x.efi")[0].1;
        assert!(off.ends_with(&format!("for `http` is off; {advice}")), "{off}");
        for (more, url) in [
            ("http: {port: 18089}", "http://{server}:18089/x"),
            ("", "http://{server}/x.efi"),
            ("", "http://10.0.0.1:8080/x.efi"),
            ("", "http://{server}.example/x.efi"),
            ("", "https://{server}/x.efi"),
        ] {
            assert_eq!(problems(more, url), [], "{url}");
        }
    }
}
