//! Facts about one machine: the variables of templates and of `{…}` in targets.

use std::net::IpAddr;

use crate::boot::fetch::host;
use crate::boot::loader::target::{Machine, Var};
use crate::types::{Arch, MacAddr, Uuid};

/// The facts about the machine that a text is rendered for. A variable without a value is undefined, and a text that
/// uses it is not rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts<'m> {
    /// Our address that the machine sent its request to.
    pub server: IpAddr,
    pub ip: Option<IpAddr>,
    pub mac: Option<MacAddr>,
    pub uuid: Option<Uuid>,
    pub arch: Option<Arch>,
    /// The serial number of a Raspberry Pi.
    pub serial: Option<String>,
    /// The host name that the machine sent.
    pub host_name: Option<String>,
    /// The machine's entry in `machines:`.
    pub machine: Option<&'m Machine>,
}

/// The names of the variables that every machine may have. Keys in `vars` of a machine must differ from them.
pub const NAMES: [&str; 10] =
    ["server", "ip", "mac", "mac_hyphen", "uuid", "arch", "hostname", "name", "serial", "vars"];

/// The variable of templates with the JSON that the machine sent by POST. It is undefined after other requests.
pub const REQUEST: &str = "request";

impl Facts<'_> {
    /// Returns the variable `name` as text. `name` is one of [`NAMES`] except `vars`.
    pub fn text(&self, name: &str) -> Option<String> {
        match name {
            "server" => Some(host(self.server)),
            "ip" => self.ip.map(|ip| ip.to_string()),
            "mac" => self.mac.map(|mac| mac.to_string()),
            "mac_hyphen" => self.mac.map(|mac| mac.to_string().replace(':', "-")),
            "uuid" => self.uuid.map(|uuid| uuid.to_string()),
            "arch" => self.arch.map(|arch| arch.to_string()),
            "hostname" => self.host_name(),
            "name" => self.machine.map(|machine| machine.name.clone()),
            "serial" => self.serial.clone(),
            _ => None,
        }
    }

    /// Returns a name of the machine for messages: that of its entry, its MAC, or its address.
    pub fn label(&self) -> String {
        let name = self.machine.map(|machine| machine.name.clone());
        let mac = || self.mac.map(|mac| mac.to_string());
        name.or_else(mac)
            .or_else(|| Some(self.ip?.to_string()))
            .unwrap_or_else(|| "an unknown machine".to_owned())
    }

    /// Replaces each `{name}` in `text` with the variable of that name, or else with an entry of the machine's `vars`.
    ///
    /// # Errors
    /// Returns the name of a variable that has no value.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut parts = text.split('{');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let Some((name, after)) = part.split_once('}') else { return Err(part.to_owned()) };
            let own = || match self.machine?.vars.get(name)? {
                Var::Text(text) => Some(text.clone()),
                Var::Int(number) => Some(number.to_string()),
                Var::Float(number) => Some(number.to_string()),
                Var::Bool(value) => Some(value.to_string()),
                Var::List(_) | Var::Map(_) => None,
            };
            filled.push_str(&self.text(name).or_else(own).ok_or_else(|| name.to_owned())?);
            filled.push_str(after);
        }
        Ok(filled)
    }

    /// Returns the configured host name, else the one that the machine sent, else the name of its entry if that is a
    /// valid host name.
    fn host_name(&self) -> Option<String> {
        let configured = self.machine.and_then(|machine| machine.host_name.clone());
        let is_host_name = |name: &&String| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
                && !name.starts_with(['-', '.'])
        };
        let named = || self.machine.map(|machine| &machine.name).filter(is_host_name).cloned();
        configured.or_else(|| self.host_name.clone()).or_else(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_from_request_and_configuration() {
        let machine = Machine {
            name: "node1".into(),
            vars: [("disk".to_owned(), Var::Text("sda".into())), ("n".to_owned(), Var::Int(3))].into(),
            ..Machine::default()
        };
        let mut facts = Facts {
            server: [192, 168, 77, 1].into(),
            ip: None,
            mac: "52:54:00:12:34:56".parse().ok(),
            uuid: None,
            arch: Some(Arch::UEFI_X64),
            serial: None,
            host_name: None,
            machine: Some(&machine),
        };
        let text = "http://{server}/{arch}/{mac_hyphen}?{disk}{n}&{hostname}";
        assert_eq!(facts.expand(text).unwrap(), "http://192.168.77.1/uefi-x64/52-54-00-12-34-56?sda3&node1");
        assert_eq!(facts.expand("{ip}"), Err("ip".to_owned()));
        facts.host_name = Some("other".into());
        assert_eq!(facts.expand("{hostname} {name}").unwrap(), "other node1");
        let named = Machine { host_name: Some("set".into()), ..machine.clone() };
        facts.machine = Some(&named);
        assert_eq!(facts.expand("{hostname}").unwrap(), "set");
        assert_eq!(facts.label(), "node1");
        facts.machine = None;
        assert_eq!(
            (facts.label(), facts.expand("{disk}")),
            ("52:54:00:12:34:56".to_owned(), Err("disk".to_owned()))
        );
    }
}
