//! Finds targets that start cloud-init with a seed of this server that has no `meta-data` or no `user-data`.

use crate::boot::loader::target::{LocalUrl, Targets};
use crate::config::problem::Problem;
use crate::config::settings::Config;
use crate::config::sources::Sources;

/// The files that cloud-init needs in its seed. Without one of them it ignores the seed, and sets nothing up.
const NEEDED: [&str; 2] = ["meta-data", "user-data"];

/// Notes about targets whose command line has `ds=nocloud;s=URL` of this server. `exists` returns whether some client
/// can get a file of this name, from its own folder or the common one.
pub fn nocloud_notes(config: &Config, sources: &Sources, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let Targets { list, .. } = &*config.targets;
    let notes = list.iter().filter_map(|target| {
        let folder = seed(&target.cmdline, config)?;
        let missing: Vec<String> =
            NEEDED.into_iter().map(|file| format!("{folder}{file}")).filter(|name| !exists(name)).collect();
        let key = format!("targets.{}.cmdline", target.name);
        let message = format!(
            "cloud-init ignores this seed, because there is no {}: an empty file is enough, or a template in `images` \
             for all machines",
            missing.join(" and no ")
        );
        (!missing.is_empty()).then_some((key, message))
    });
    sources.problems_at(notes)
}

/// The folder of the seed in `cmdline`, if this server has it: without the variables of machines, and empty or with a
/// slash at its end.
fn seed(cmdline: &str, config: &Config) -> Option<String> {
    let word = cmdline.split_ascii_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let source = word
        .filter_map(|word| word.strip_prefix("ds="))
        .find_map(|source| source.strip_prefix("nocloud-net;").or_else(|| source.strip_prefix("nocloud;")))?;
    let url = source
        .split(';')
        .find_map(|part| part.strip_prefix("s=").or_else(|| part.strip_prefix("seedfrom=")))?;
    let local = LocalUrl::of(url, config.file_server_ports()).filter(LocalUrl::is_served)?;
    let path = local.path.trim_start_matches('/');
    // cloud-init appends the names of the files to the URL.
    let path = ["{mac}/", "{mac_hyphen}/"].iter().find_map(|mac| path.strip_prefix(mac)).unwrap_or(path);
    (!path.contains('{')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(cmdline: &str, files: &[&str]) -> Vec<String> {
        let text = format!("dhcp: {{mode: off}}\ntargets: {{u: {{kernel: k, cmdline: '{cmdline}'}}}}\n");
        let config = crate::config::load(&text).unwrap();
        let found = nocloud_notes(&config, &text.as_str().into(), |name| files.contains(&name));
        found.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn r_37_a_seed_of_cloud_init_without_meta_data_is_noted() {
        for (cmdline, files, missing) in [
            ("quiet ds=nocloud;s=http://{server}/{mac}/ ---", &["user-data"][..], "no meta-data:"),
            ("ds=nocloud;s=http://{server}/{mac}/", &["meta-data"], "no user-data:"),
            (
                "ds=nocloud-net;seedfrom=http://{server}/seed/",
                &["meta-data", "user-data"],
                "no seed/meta-data and no seed/user-data:",
            ),
            (
                "ds=nocloud;h=x;s=http://{server}:80/{mac_hyphen}/a/",
                &[],
                "no a/meta-data and no a/user-data:",
            ),
        ] {
            let found = notes(cmdline, files);
            assert!(found.len() == 1 && found[0].contains(missing), "{cmdline}: {found:?}");
        }
        for cmdline in [
            "quiet",
            "ds=nocloud",
            "ds=nocloud;s=http://10.0.0.9/{mac}/",
            "ds=nocloud;s=http://{server}/{name}/",
            "ds=nocloud;s=file:///x/",
            "autoinstall ds=ec2",
        ] {
            assert_eq!(notes(cmdline, &[]), [""; 0], "{cmdline}");
        }
        assert_eq!(notes("ds=nocloud;s=http://{server}/{mac}/", &["user-data", "meta-data"]), [""; 0]);
    }
}
