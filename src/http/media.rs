//! Content types by file extension.

/// The types that EDK2 runs directly or treats as an image. EDK2 decides by the Content-Type or, if it does not know
/// that, by the extension in the URL (`HttpBootSupport.c`).
const TYPES: &[(&str, &str)] = &[
    ("efi", "application/efi"),
    ("iso", "application/vnd.efi-iso"),
    ("img", "application/vnd.efi-img"),
    ("ipxe", TEXT),
    ("cfg", TEXT),
    ("conf", TEXT),
    ("ks", TEXT),
    ("preseed", TEXT),
    ("txt", TEXT),
    ("md", TEXT),
    ("sh", TEXT),
    ("yaml", TEXT),
    ("yml", TEXT),
    ("json", "application/json"),
    ("ign", "application/vnd.coreos.ignition+json"),
];

pub const TEXT: &str = "text/plain; charset=utf-8";
/// The type of any other file.
const BYTES: &str = "application/octet-stream";

/// Returns the content type of the file `name`. The extension `.signed`, which Ubuntu gives to signed loaders, is
/// ignored.
pub fn of(name: &str) -> &'static str {
    let name = name.strip_suffix(".signed").unwrap_or(name);
    let (_, file) = name.rsplit_once('/').unwrap_or(("", name));
    let Some((_, ending)) = file.rsplit_once('.') else { return BYTES };
    let known = TYPES.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    known.map_or(BYTES, |(_, kind)| kind)
}

/// Returns the content type of the generated text `name`.
pub fn of_text(name: &str) -> &'static str {
    match of(name) {
        BYTES => TEXT,
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_give_the_types_that_firmware_expects() {
        assert_eq!(of("snponly.efi"), "application/efi");
        assert_eq!(of("EFI/BOOT/BOOTX64.EFI"), "application/efi");
        assert_eq!(of("grubnetx64.efi.signed"), "application/efi");
        assert_eq!(of("debian.iso"), "application/vnd.efi-iso");
        assert_eq!(of("boot.img"), "application/vnd.efi-img");
        assert_eq!(of("boot.ipxe"), "text/plain; charset=utf-8");
        for bytes in ["vmlinuz", "folder.efi/kernel", "undionly.kpxe", "efi", ""] {
            assert_eq!(of(bytes), "application/octet-stream", "{bytes}");
        }
        assert_eq!((of_text("ks"), of_text("a/seed.json")), (TEXT, "application/json"));
    }
}
