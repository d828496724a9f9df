//! Content types by the ending of a name.

/// What EDK2 starts as it is, and how it treats an image: from the Content-Type, or where that says nothing to it from
/// the ending of the URL (`HttpBootSupport.c`).
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

/// Text.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Anything else.
const BYTES: &str = "application/octet-stream";

/// The content type of the file `name`. A name that ends in `.signed` is one of a signed loader, as Ubuntu names them:
/// what stands before counts.
pub fn of(name: &str) -> &'static str {
    let name = name.strip_suffix(".signed").unwrap_or(name);
    let (_, file) = name.rsplit_once('/').unwrap_or(("", name));
    let Some((_, ending)) = file.rsplit_once('.') else { return BYTES };
    let known = TYPES.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    known.map_or(BYTES, |(_, kind)| kind)
}

/// The content type of the text `name`, made for a machine.
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
    fn endings_say_what_firmware_wants_to_hear() {
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
