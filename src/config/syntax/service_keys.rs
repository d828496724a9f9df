//! The keys of `tftp`, `http`, `web` and `log`: the last tables of `keys.rs`.

use crate::config::syntax::key::Kind::{
    Address, Bool, Each, Either, Map, Network, Number, Off, Path, Size, Text, Word,
};
use crate::config::syntax::key::{Key, PORT, REQUIRED, Section, key};

#[rustfmt::skip]
pub(super) const TFTP: &[Key] = &[
    key("port", PORT, "69", "The UDP port of requests."),
    key("listen", Each(&Address), "[]", "Addresses to listen on. Empty: those of the served interfaces."),
    key("engine", Word(&["native", "async-tftp"]), "native", "`async-tftp` is slower and does not know `ports` and `uploads`."),
    key("max_block_size", Either(&[Word(&["auto"]), Size]), "auto", "The largest block, from 512 to 65464 bytes. `auto`: the largest that fits the interface's MTU."),
    key("max_window", Number(1, 64), "64", "Blocks sent before an acknowledgement is awaited (RFC 7440)."),
    key("max_transfers", Number(1, 1_000_000), "4096", "Transfers at once."),
    key("max_per_client", Number(1, 1_000_000), "1024", "Transfers at once from one address. Several machines may stand behind one."),
    key("allow", Each(&Network), "[]", "Networks that may ask, besides those of the interfaces and subnets."),
    key("ports", Either(&[Number(0, 0), Word(&["single"]), Text("a range of ports")]), "0", "The local ports of transfers. `0`: a separate port for each. `30000-30999`: one of these. `single`: all on `port`."),
    key("uploads", Either(&[Off, Path, Map(Section::Uploads)]), "off", "A folder for new files of clients. It must not be in `images`."),
];

#[rustfmt::skip]
pub(super) const UPLOADS: &[Key] = &[
    key("dir", Path, REQUIRED, "The folder."),
    key("max_size", Size, "256MiB", "The most bytes of one file."),
    key("max_total", Size, "1GiB", "The most bytes in the folder; at least four times `max_size` if left out. One client may bring half of it."),
    key("max_files", Number(1, 100_000), "10000", "The most files in the folder."),
];

#[rustfmt::skip]
pub(super) const HTTP: &[Key] = &[
    key("port", PORT, "80", "The TCP port."),
    key("listen", Each(&Address), "[]", "Addresses to listen on. Empty: those of the served interfaces."),
    key("max_per_client", Number(1, 8192), "1024", "Connections at once from one address."),
    key("allow", Each(&Network), "[]", "Networks that may ask, besides those of the interfaces and subnets. This computer itself may always ask over loopback."),
];

#[rustfmt::skip]
pub(super) const WEB: &[Key] = &[
    key("listen", Each(&Text("an address with a port")), "[127.0.0.1:8067]", "Addresses to listen on. The default is left out with a warning if another program has it."),
    key("tls", Map(Section::WebTls), "", "The certificate for addresses other than those of loopback."),
    key("insecure", Bool, "false", "`true`: serve addresses other than those of loopback without TLS. Everybody on the way can read the token."),
    key("allow", Each(&Network), "[]", "Networks whose clients may connect, besides loopback. Empty: all."),
    key("names", Each(&Text("a host name")), "[]", "Names of this server that browsers may use, besides its host name and addresses."),
    key("uploads", Bool, "false", "Images may be uploaded, with the token."),
    key("max_upload", Size, "16GiB", "The most bytes of one uploaded image."),
];

#[rustfmt::skip]
pub(super) const WEB_TLS: &[Key] = &[
    key("cert", Path, REQUIRED, "A PEM file with the certificate, followed by those of its issuers. A reload reads it again."),
    key("key", Path, REQUIRED, "A PEM file with the private key. The user that the server runs as must be able to read it."),
];

#[rustfmt::skip]
pub(super) const LOG: &[Key] = &[
    key("format", Word(&["text", "json"]), "text", "One line of text, or one JSON object, for each event."),
    key("level", Word(&["error", "warn", "info", "debug", "trace"]), "info", "Events below this severity are not logged."),
];
