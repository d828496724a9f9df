//! The arguments of `images add`, `images build` and `images remove`.

use std::path::PathBuf;

use clap::Args;

use crate::images::add::sets::DebArch;

/// Arguments of `images add`.
#[derive(Debug, Args)]
pub struct AddArguments {
    /// Names from the list below; or one path, or one URL (http:// or https://)
    #[arg(required = true, value_name = "NAME|PATH|URL")]
    pub(super) what: Vec<String>,
    /// Architectures, amd64 or arm64 [default: both, where there are files for both]
    #[arg(long, value_name = "ARCH", value_delimiter = ',', value_parser = arch)]
    pub(super) arch: Vec<DebArch>,
    /// Take the files from these package files (.deb) instead of downloading them
    #[arg(long, value_name = "FILE")]
    pub(super) deb: Vec<PathBuf>,
    /// Name for the file of a path or URL in the images folder [default: its own name]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// SHA-256 that the file of a path or URL must have, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub(super) sha256: Option<String>,
    /// Replace files that lanboot did not add, or that were changed since
    #[arg(long)]
    pub(super) force: bool,
}

/// Arguments of `images build`.
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// Name of the image: letters, digits, `-`, `_` and `.`
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The root file system: its folder, a tar archive of it, or - for a tar archive on standard input
    #[arg(long, value_name = "DIR|TAR|-")]
    pub(super) from: PathBuf,
}

/// Arguments of `images remove`.
#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// A build as `images list` names it, or the name of an image for all of its builds
    #[arg(value_name = "NAME[@BUILD]")]
    pub(super) name: String,
    /// Also remove builds that a target uses
    #[arg(long)]
    pub(super) force: bool,
}

fn arch(text: &str) -> Result<DebArch, &'static str> {
    match text {
        "amd64" | "x86_64" | "x64" => Ok(DebArch::Amd64),
        "arm64" | "aarch64" => Ok(DebArch::Arm64),
        _ => Err("expected amd64 or arm64"),
    }
}

fn sha256(text: &str) -> Result<String, &'static str> {
    let is_sum = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_sum { Ok(text.to_ascii_lowercase()) } else { Err("expected 64 hexadecimal digits") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        assert_eq!(arch("aarch64"), Ok(DebArch::Arm64));
        assert!(arch("i386").is_err());
        assert_eq!(sha256(&"Ab".repeat(32)).unwrap(), "ab".repeat(32));
        assert!(sha256("ab").is_err() && sha256(&"x".repeat(64)).is_err());
    }
}
