//! Text that is in no file and is made for the machine that asks.

use crate::boot::name::BootName;
use crate::images::Text;
use crate::server::files::Asker;

/// What lanboot knows of the machine that asks: for a person who wonders why a machine gets what it gets.
pub const WHOAMI: &str = "lanboot/whoami";

/// The text that `asker` gets for `name`, if there is one. A real file of that name comes before it.
pub fn text(name: &BootName, asker: &Asker) -> Option<Text> {
    let bytes = match name.as_str() {
        WHOAMI => whoami(asker),
        _ => return None,
    };
    Some(Text { name: name.as_str().to_owned(), bytes: bytes.into_bytes().into() })
}

/// A line `key: value` for each thing that is known. The values are of types, or of letters, that cannot hold a line end.
fn whoami(asker: &Asker) -> String {
    let machine = &asker.machine;
    let lines = [
        ("address", Some(asker.address.to_string())),
        ("server", Some(asker.server.to_string())),
        ("mac", machine.mac.map(|mac| mac.to_string())),
        ("uuid", machine.uuid.map(|uuid| uuid.to_string())),
        ("arch", machine.arch.map(|arch| arch.to_string())),
        ("serial", machine.serial.clone()),
        ("hostname", machine.host_name.clone()),
        ("machine", machine.name.clone()),
        ("dhcp_server", machine.server.map(|server| server.to_string())),
    ];
    lines.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}\n", value?))).collect()
}
