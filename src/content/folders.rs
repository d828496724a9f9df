//! Checks that configured folders do not lie inside one another. `lanboot check` and the start of the server call it.

use std::path::Path;

use crate::config::Config;
use crate::images::placement::{self, Secret, images_problem, is_within};

/// Paths that no client may download: the state folder, the upload folder, config.yaml, and
/// the private key of the web listener.
pub fn secrets(config: &Config) -> Vec<Secret> {
    let uploads = config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref());
    let files = config.source_files.iter().map(|path| Secret { key: "--config", path: path.clone() });
    let folders = [("state", Some(&config.state)), ("tftp.uploads", uploads.map(|uploads| &uploads.dir))];
    let folders = folders.into_iter().filter_map(|(key, path)| Some(Secret { key, path: path?.clone() }));
    let tls = config.web.as_ref().and_then(|web| web.tls.as_ref());
    let key = tls.map(|tls| Secret { key: "web.tls.key", path: tls.key.clone() });
    folders.chain(files).chain(key).collect()
}

/// Describes secret paths inside the folder of boot files. `lanboot check` reports them as errors. The server starts
/// anyway, and never sends them.
pub fn inside_images(config: &Config) -> Vec<String> {
    let serves_files = config.tftp.is_some() || config.http.is_some();
    if serves_files { placement::secrets_inside(&config.images, &secrets(config)) } else { Vec::new() }
}

/// Reasons why the server must not start with these folders, each with the configuration key to change. Missing folders
/// are skipped.
pub fn problems(config: &Config) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let serves_files = config.tftp.is_some() || config.http.is_some();
    let problem = serves_files.then(|| images_problem(&config.images, &secrets(config)));
    found.extend(problem.flatten().map(|problem| ("images", problem)));
    if let Some(uploads) = config.tftp.as_ref().and_then(|tftp| tftp.uploads.as_ref()) {
        let mut is_in = |path: &Path, what: &str, why: &str| {
            if is_within(path, &uploads.dir) {
                let (path, dir) = (path.display(), uploads.dir.display());
                let message = format!("{what} {path} is in {dir}, where clients may put files: {why}");
                found.push(("tftp.uploads", message));
            }
        };
        is_in(&config.images, "the folder of `images`", "they could add boot files; use separate folders");
        is_in(&config.state, "the folder of `state`", "use a separate folder for uploads");
        config.source_files.iter().for_each(|path| {
            is_in(path, "the configuration file", "use a separate folder for uploads");
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn keys(base: &Path, yaml: &str, file: &str) -> Vec<&'static str> {
        let mut config = crate::config::load(&format!("dhcp: {{mode: off}}\n{yaml}")).unwrap();
        config.images = base.join(&config.images);
        config.state = base.join(&config.state);
        if let Some(uploads) = config.tftp.as_mut().and_then(|tftp| tftp.uploads.as_mut()) {
            uploads.dir = base.join(&uploads.dir);
        }
        config.source_files.push(base.join(file));
        let inside = inside_images(&config).into_iter().map(|_| "inside");
        problems(&config).into_iter().map(|(key, _)| key).chain(inside).collect()
    }

    #[test]
    fn s_12_nested_folders_are_errors() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        fs::create_dir_all(base.join("boot-images/uploads")).unwrap();
        fs::create_dir_all(base.join("state/uploads")).unwrap();
        fs::write(base.join("config.yaml"), "").unwrap();
        let file = "config.yaml";
        for good in ["state: state", "state: state\ntftp: {uploads: state/uploads}", "state: none"] {
            assert_eq!(keys(base, good, file), [""; 0], "{good}");
        }
        assert_eq!(keys(base, "state: boot-images/state", file), ["inside"]);
        assert_eq!(keys(base, "state: boot-images", file), ["images", "inside"]);
        assert_eq!(keys(base, "state: state\nimages: .", file), ["inside"; 2]);
        assert_eq!(keys(base, "state: state\nimages: /etc", file), ["images"]);
        assert_eq!(keys(base, "state: state", "boot-images/config.yaml"), ["inside"]);
        assert_eq!(keys(base, "state: state\ntftp: {uploads: boot-images/uploads}", file), ["inside"]);
        let both = ["images", "tftp.uploads", "inside"];
        assert_eq!(keys(base, "state: state\ntftp: {uploads: boot-images}", file), both);
        assert_eq!(keys(base, "state: state\ntftp: {uploads: state}", file), ["tftp.uploads"]);
        let all = ["tftp.uploads"; 3];
        assert_eq!(keys(base, "state: state\ntftp: {uploads: .}", file), all);
        assert_eq!(keys(base, "state: state\nimages: .\ntftp: off\nhttp: {}", file), ["inside"; 2]);
    }
}
