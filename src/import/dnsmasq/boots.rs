//! Boot files: `dhcp-boot`, or without it the options 66, 67 and 255.

use std::net::Ipv4Addr;

use super::model::{Boot, Origin};
use super::option::{NEXT_SERVER, Value as OptionValue, Wrap};
use super::rules::{Effect, Maker};
use super::values::Tag;
use crate::config::document::{Map, Value};

/// Options by which PXE clients find their boot file: the server and the file.
const TFTP_SERVER: u32 = 66;
const BOOT_FILE: u32 = 67;
impl Maker<'_> {
    /// Adds the rule of a `dhcp-boot`.
    pub fn boot(&mut self, boot: &Boot) {
        let place = boot.origin.place;
        let server = match boot.server.as_str() {
            "" => None,
            text => match self.model.address_of(text) {
                Some(address) => Some(address),
                None => {
                    let reason = format!(
                        "the server {text} of dhcp-boot is not taken: its address is in no hosts file; write the address"
                    );
                    self.problems.add(place, reason);
                    None
                }
            },
        };
        let file = self.file_name(&boot.file, server.is_some());
        let file = file.unwrap_or_else(|why| {
            self.problems.add(place, format!("the file of dhcp-boot is not taken: {why}"));
            None
        });
        if file.is_none() && server.is_some() {
            let reason =
                "the server of dhcp-boot is not taken for network boot: it names no file that is there";
            self.problems.add(place, reason);
        }
        let server_name = Some(boot.server_name.clone()).filter(|name| !name.is_empty());
        if file.is_none() && server.is_none() && server_name.is_none() {
            return;
        }
        let tags = &boot.tags;
        // Without dhcp-boot, the options themselves are the source.
        let is_in_options = !self.model.boots.is_empty() && !self.model.settings.has_no_override;
        let effect = Effect::Boot { file, server_name, server, is_in_options };
        self.add(&boot.origin, tags, effect, "dhcp-boot");
    }

    /// The name of a boot file in `images`, or on another server. `None` for an empty name.
    fn file_name(&self, name: &str, is_elsewhere: bool) -> Result<Option<String>, String> {
        if name.is_empty() {
            return Ok(None);
        }
        if is_elsewhere || name.contains("://") {
            return match has_braces(name) {
                true => Err(format!("{name:?} has braces, which stand for variables in config.yaml")),
                false => Ok(Some(name.to_owned())),
            };
        }
        let root = self.model.settings.tftp_root.as_deref().unwrap_or_default().trim_end_matches('/');
        let inside =
            if root.is_empty() { None } else { name.strip_prefix(root).filter(|it| it.starts_with('/')) };
        let name = inside.unwrap_or(name).trim_start_matches('/');
        if has_braces(name) {
            return Err(format!("{name:?} has braces, which stand for variables in config.yaml"));
        }
        if name.is_empty() || name.split(['/', '\\']).any(|part| part == "..") {
            return Err(format!("{name:?} is not in the folder of `images`"));
        }
        Ok(Some(name.to_owned()))
    }

    /// Without `dhcp-boot`, dnsmasq takes boot files from the options 66, 67 and 255.
    pub fn boot_by_options(&mut self) {
        let plain = || self.model.options.iter().filter(|rule| rule.option.wrap == Wrap::None);
        let text = |code: u32, tags: &[Tag]| {
            let with = |tags: &[Tag]| {
                plain().rev().find(|rule| rule.option.code == code && rule.option.tags == tags)
            };
            let rule = with(tags).or_else(|| with(&[]))?;
            Some(match &rule.option.value {
                OptionValue::Addresses(all) => all.first()?.to_string(),
                value => String::from_utf8_lossy(&value.bytes()).into_owned(),
            })
        };
        let mut boots = Vec::new();
        for rule in plain().filter(|rule| rule.option.code == BOOT_FILE) {
            let tags = &rule.option.tags;
            let server = text(NEXT_SERVER, tags).or_else(|| text(TFTP_SERVER, tags)).unwrap_or_default();
            let file = rule.option.value.bytes();
            // Telephones and other devices read settings from URLs in these options. They are no boot files.
            if server.contains("://") || file.contains(&b'{') || file.contains(&b'?') {
                continue;
            }
            boots.push(Boot {
                origin: Origin { place: rule.origin.place, comments: Vec::new() },
                tags: tags.clone(),
                file: String::from_utf8_lossy(&rule.option.value.bytes()).into_owned(),
                server_name: String::new(),
                server: self.model.address_of(&server).map(|address| address.to_string()).unwrap_or_default(),
            });
        }
        for rule in plain().filter(|rule| rule.option.code == NEXT_SERVER) {
            let tags = &rule.option.tags;
            if !boots.iter().any(|boot| boot.tags == *tags) {
                let server = text(NEXT_SERVER, tags).unwrap_or_default();
                let origin = rule.origin.clone();
                let (file, server_name) = (String::new(), String::new());
                boots.push(Boot { origin, tags: tags.clone(), file, server_name, server });
            }
        }
        boots.iter().for_each(|boot| self.boot(boot));
    }
}

/// Whether the name has braces that are no variables of iPXE.
fn has_braces(name: &str) -> bool {
    let without: Vec<&str> = name.split("${").collect();
    let rest =
        |part: &&str| part.split_once('}').map(|(_, after)| after.contains(['{', '}'])).unwrap_or(true);
    without.first().is_some_and(|first| first.contains(['{', '}'])) || without.iter().skip(1).any(rest)
}

/// The value of `boot`: the name of the file, with its server if that is another one.
pub(super) fn boot_value(file: &str, server: Option<Ipv4Addr>) -> Value {
    match server {
        Some(server) => Map::new().with("file", file).with("server", server).into(),
        None => file.into(),
    }
}
