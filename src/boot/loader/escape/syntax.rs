//! The syntax of a rendered file.

/// The syntax of the file, which determines how values are escaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Syntax {
    /// An iPXE script. It has no quotes and replaces `${…}` everywhere.
    Ipxe,
    /// A PXELINUX configuration: a keyword, then the value to the end of the line.
    Pxelinux,
    /// A GRUB configuration: words and quotes as in a shell.
    Grub,
    /// A shell script; or a Kickstart file, whose commands are split as in a shell and whose sections are scripts.
    Shell,
    /// A Debian preseed file: the value ends with the line.
    Preseed,
    /// YAML: cloud-init, Butane.
    Yaml,
    /// JSON: Ignition.
    Json,
    /// XML: answer files of Windows.
    Xml,
    /// Any other text.
    Plain,
}

impl Syntax {
    /// Returns the syntax of the file `name` that begins with `text`, judged by its extension or its well-known name.
    pub fn of(name: &str, text: &str) -> Syntax {
        let name = name.to_ascii_lowercase();
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", &name));
        let parent = folder.rsplit('/').next().unwrap_or_default();
        let extension = last.rsplit_once('.').map_or("", |(_, extension)| extension);
        match (last, extension) {
            _ if parent == "pxelinux.cfg" => Syntax::Pxelinux,
            ("syslinux.cfg" | "isolinux.cfg" | "extlinux.conf", _) => Syntax::Pxelinux,
            _ if last.starts_with("grub.cfg") => Syntax::Grub,
            (_, "cfg") if parent == "grub" => Syntax::Grub,
            (_, "ipxe") => Syntax::Ipxe,
            ("user-data" | "vendor-data", _) if text.starts_with("#!") => Syntax::Shell,
            ("user-data" | "vendor-data" | "meta-data" | "network-config", _) => Syntax::Yaml,
            ("preseed.cfg" | "preseed", _) | (_, "preseed" | "seed") => Syntax::Preseed,
            ("ks.cfg", _) | (_, "ks" | "sh" | "bash") => Syntax::Shell,
            (_, "grub") => Syntax::Grub,
            (_, "yaml" | "yml" | "bu") => Syntax::Yaml,
            (_, "json" | "ign") => Syntax::Json,
            (_, "xml" | "html" | "htm") => Syntax::Xml,
            _ if last.starts_with("kickstart") => Syntax::Shell,
            _ => Syntax::Plain,
        }
    }

    /// Whether lists and mappings can be written in this syntax: both are written as JSON, which is valid YAML.
    pub fn has_lists(self) -> bool {
        matches!(self, Syntax::Yaml | Syntax::Json)
    }
}
