//! Finds URLs of this server that it does not serve.

use crate::boot::loader::target::LocalUrl;
use crate::config::lint::mapped_files::mapped_files;
use crate::config::problem::Problem;
use crate::config::sections::targets;
use crate::config::settings::Config;
use crate::config::sources::Sources;

/// Problems of the configuration from `sources`: URLs with `{server}` that this server does not serve, because the protocol
/// is off or has another port.
pub fn unserved_problems(config: &Config, sources: &Sources) -> Vec<Problem> {
    let boot = mapped_files(config).into_iter().map(|file| (file.name, file.key));
    let all =
        boot.chain(targets::target_files(&config.targets).into_iter().map(|(name, key, _)| (name, key)));
    let unserved = all.filter_map(|(name, key)| {
        let LocalUrl { scheme, served, port, .. } =
            LocalUrl::of(&name, config.file_server_ports()).filter(|url| !url.is_served())?;
        let what = match served {
            Some(served) => format!("{scheme} is served on port {served}, not on {port}"),
            None => format!("`{scheme}` is off"),
        };
        let advice = "if another program on this computer serves it, write the address instead of {server}";
        Some((key, format!("{name} is not served, because {what}; {advice}")))
    });
    sources.problems_at(unserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unserved_url_of_this_server_is_a_problem() {
        let problems = |more: &str, url: &str| {
            let text = format!(
                "dhcp: {{mode: proxy}}\nboot: {{ipxe: boot.ipxe, arch: {{uefi-x64-http: '{url}'}}}}\n\
                 targets: {{a: {{kernel: '{url}'}}}}\n{more}"
            );
            let found = unserved_problems(&crate::config::load(&text).unwrap(), &text.as_str().into());
            found.into_iter().map(|problem| (problem.path, problem.message)).collect::<Vec<_>>()
        };
        let advice = "if another program on this computer serves it, write the address instead of {server}";
        let why = format!(
            "http://{{server}}/x.efi is not served, because http is served on port 18089, not on 80; {advice}"
        );
        assert_eq!(
            problems("http: {port: 18089}", "http://{server}/x.efi"),
            [("boot.arch.uefi-x64-http".to_owned(), why.clone()), ("targets.a.kernel".to_owned(), why)]
        );
        let off = &problems("http: off", "http://{server}:8080/x.efi")[0].1;
        assert!(off.ends_with(&format!("because `http` is off; {advice}")), "{off}");
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
