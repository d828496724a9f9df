//! Parses the output of `apt-cache policy` and `apt-get --print-uris`. `apt.rs` calls it.

use std::collections::BTreeMap;

/// Maps each installable package in the output of `apt-cache policy PACKAGE…` to the line of its source, without the
/// priority. The value is `None` if the source is unknown.
///
/// ```text
/// shim-signed:arm64:
///   Installed: (none)
///   Candidate: 1.51
///   Version table:
///      1.51 500
///         500 http://deb.debian.org/debian bookworm/main arm64 Packages
/// ```
pub(in crate::images) fn candidates(text: &str) -> BTreeMap<String, Option<String>> {
    let mut all = BTreeMap::new();
    let (mut name, mut candidate, mut in_it) = ("", "", false);
    for line in text.lines() {
        if let Some(package) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            (name, candidate, in_it) = (package, "", false);
        } else if let Some(version) = line.strip_prefix("  Candidate: ") {
            candidate = version;
            if version != "(none)" {
                all.insert(name.to_owned(), None);
            }
        } else if let Some(source) = line.strip_prefix("        ") {
            let known = all.get_mut(name).filter(|source| in_it && source.is_none());
            if let (Some(known), Some((_, source))) = (known, source.trim().split_once(' ')) {
                *known = Some(source.to_owned());
            }
        } else {
            in_it = line.trim_start_matches([' ', '*']).split(' ').next() == Some(candidate);
        }
    }
    all
}

/// Maps the line of each source in `apt-cache policy`, without its priority, to its distribution, such as
/// `Debian bookworm`.
///
/// ```text
///  500 http://deb.debian.org/debian bookworm/main amd64 Packages
///      release v=12.11,o=Debian,a=oldstable,n=bookworm,l=Debian,c=main,b=amd64
/// ```
pub(in crate::images) fn releases(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().zip(text.lines().skip(1));
    let named = lines.filter_map(|(source, release)| {
        let fields = release.trim_start().strip_prefix("release ")?;
        let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name));
        let (_, source) = source.trim_start().split_once(' ')?;
        let parts = [field("o="), field("n=").or_else(|| field("a="))];
        let whose: Vec<&str> = parts.into_iter().flatten().collect();
        (!whose.is_empty()).then(|| (source.to_owned(), whose.join(" ")))
    });
    named.collect()
}

/// A line of `apt-get download --print-uris`: `'http://…' ipxe_1.0_all.deb 1171912 SHA256:49dc…`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::images) struct PrintedFile {
    pub(in crate::images) url: String,
    /// File name that apt uses: package, version and architecture, with `:` as `%3a`.
    pub(in crate::images) name: String,
    /// In bytes.
    pub(in crate::images) size: u64,
    /// In hexadecimal.
    pub(in crate::images) sha256: String,
}

impl PrintedFile {
    /// Whether the file is this package, for this architecture or for all.
    pub(in crate::images) fn is_of(&self, package: &str, arch: &str) -> bool {
        let mut parts = self.name.trim_end_matches(".deb").split('_');
        let (name, of) = (parts.next(), parts.next_back());
        name == Some(package) && (of == Some(arch) || of == Some("all"))
    }
}

/// The files in the output. Lines without SHA-256 are skipped, and so are file names that contain a slash.
pub(in crate::images) fn files(text: &str) -> Vec<PrintedFile> {
    let file = |line: &str| {
        let (url, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let mut fields = rest.split(' ');
        let name = fields.next().filter(|name| !name.contains('/') && name.ends_with(".deb"))?;
        let size = fields.next()?.parse().ok()?;
        let sha256 = fields.find_map(|field| field.strip_prefix("SHA256:"))?;
        Some(PrintedFile {
            url: url.to_owned(),
            name: name.to_owned(),
            size,
            sha256: sha256.to_ascii_lowercase(),
        })
    };
    text.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_the_candidate_is_found() {
        let text = "\
shim-signed:
  Installed: 1.51
  Candidate: 1.51
  Version table:
 *** 1.51 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
grub-efi-arm64-signed:arm64:
  Installed: (none)
  Candidate: 1+2.06
  Version table:
     1+2.07 50
         50 http://elsewhere sid/main arm64 Packages
     1+2.06 500
        500 http://deb.debian.org/debian bookworm/main arm64 Packages
none:
  Installed: (none)
  Candidate: (none)
  Version table:
";
        let found: Vec<(String, Option<String>)> = candidates(text).into_iter().collect();
        let line = |arch| Some(format!("http://deb.debian.org/debian bookworm/main {arch} Packages"));
        assert_eq!(
            found,
            [
                ("grub-efi-arm64-signed:arm64".to_owned(), line("arm64")),
                ("shim-signed".to_owned(), line("amd64"))
            ]
        );
        let releases = releases(
            "Package files:\n 500 http://deb.debian.org/debian bookworm/main amd64 Packages\n     release \
             v=12.15,o=Debian,a=oldstable,n=bookworm,l=Debian,c=main,b=amd64\n     origin deb.debian.org\n",
        );
        assert_eq!(releases.get(&line("amd64").unwrap()).unwrap(), "Debian bookworm");
    }

    #[test]
    fn files_are_known_by_name_and_sum() {
        let text = "\
'http://d/pxelinux_6%7e1_all.deb' pxelinux_3%3a6~1_all.deb 156016 SHA256:EF25
'http://d/x_1_amd64.deb' ../x_1_amd64.deb 1 SHA256:00
'http://d/y_1_amd64.deb' y_1_amd64.deb 1 MD5Sum:00
nonsense
";
        let found = files(text);
        let [file] = &found[..] else { panic!("{found:?}") };
        assert_eq!((file.size, file.sha256.as_str()), (156_016, "ef25"));
        assert!(file.is_of("pxelinux", "amd64") && !file.is_of("pxe", "amd64"));
        assert!(!PrintedFile { name: "x_1_arm64.deb".into(), ..files(text).remove(0) }.is_of("x", "amd64"));
    }
}
