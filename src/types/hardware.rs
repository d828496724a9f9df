//! Facts about a machine's hardware, as its iPXE reports them.

use std::sync::Arc;

/// Facts about a machine's hardware. The texts come from its firmware and may have any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// In MiB.
    pub memory: Option<u64>,
    pub manufacturer: Option<Arc<str>>,
    pub product: Option<Arc<str>>,
    pub serial: Option<Arc<str>>,
    /// The firmware: `pcbios` or `efi`.
    pub platform: Option<Arc<str>>,
    /// The processor that iPXE was built for, such as `x86_64`.
    pub buildarch: Option<Arc<str>>,
}

impl Hardware {
    /// The texts that are known, each with its stable name.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("manufacturer", &self.manufacturer),
            ("product", &self.product),
            ("serial", &self.serial),
            ("platform", &self.platform),
            ("buildarch", &self.buildarch),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }
}
