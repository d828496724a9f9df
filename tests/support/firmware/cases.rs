//! Good and broken replies for machines, named for the tests' failure messages.

use std::net::Ipv4Addr;

use lanboot::probe::models::RequestKind;
use lanboot::wire::option::code;

use super::mangler::{Answer, Asked};
use super::reply::{OTHER, Reply};

/// Returns the answers to a machine's request, given the request and the address that the machine gets.
pub type Script = fn(&Asked, Ipv4Addr) -> Vec<Answer>;

/// A name for failure messages, and the answers.
pub type Case = (&'static str, Script);

/// The boot file of all replies.
pub const FILE: &str = "dir/x.bin";

pub fn one(reply: Reply) -> Vec<Answer> {
    vec![reply.answer()]
}

pub fn good(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE))
}

pub fn without_server_identifier(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).without(code::SERVER_IDENTIFIER))
}

/// The name in option 67 alone, without NUL, and more options behind it.
pub fn no_nul_in_67(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).edit(|reply| reply.message.file = [0; 128]);
    one(reply
        .without(code::BOOT_FILE_NAME)
        .with(code::BOOT_FILE_NAME, FILE.as_bytes())
        .with(code::DOMAIN, b"lab"))
}

/// Option 43 with all of the items 1 to 5 and no other.
pub fn only_mtftp(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let mtftp = [1, 4, 224, 0, 1, 1, 2, 2, 6, 0, 3, 2, 7, 0, 4, 1, 2, 5, 1, 2, 255];
    one(Reply::pxe(asked, address, FILE).with(code::VENDOR_SPECIFIC, &mtftp))
}

/// Option 60 without 43, and no answer on port 4011.
pub fn no_43(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        RequestKind::BootServer => vec![],
        _ => one(Reply::pxe(asked, address, FILE).without(code::VENDOR_SPECIFIC)),
    }
}

/// Option 60 without 43 and without a file. Port 4011 names the file, on another server.
pub fn file_on_4011(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).without(code::VENDOR_SPECIFIC);
    match asked.question {
        RequestKind::BootServer => one(reply.edit(|reply| {
            reply.message.yiaddr = Ipv4Addr::UNSPECIFIED;
            reply.message.siaddr = OTHER;
        })),
        _ => one(nameless(reply)),
    }
}

pub fn nameless(reply: Reply) -> Reply {
    reply.without(code::BOOT_FILE_NAME).edit(|reply| reply.message.file = [0; 128])
}

/// A file for another architecture than the machine's: iPXE for UEFI to a BIOS, PXELINUX for a BIOS to UEFI.
pub fn wrong_architecture(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, "wrong"))
}

pub fn only_in_header(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE);
    one(reply.without(code::BOOT_FILE_NAME).without(code::TFTP_SERVER_NAME))
}

pub fn only_in_options(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).edit(|reply| {
        reply.message.file = [0; 128];
        reply.message.sname = [0; 64];
    }))
}

pub fn header_and_67_differ(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).with(code::BOOT_FILE_NAME, b"from-67\0"))
}

/// siaddr is 0, and option 66 names a server other than option 54.
pub fn no_siaddr(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply =
        Reply::pxe(asked, address, FILE).with(code::TFTP_SERVER_NAME, format!("{OTHER}\0").as_bytes());
    one(reply.edit(|reply| reply.message.siaddr = Ipv4Addr::UNSPECIFIED))
}

pub fn no_end(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).edit(|reply| reply.end = false))
}

/// One option with an invalid length.
pub fn bad_length(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).with(code::ROUTER, &[192, 168, 77]))
}

pub fn no_mask(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::pxe(asked, address, FILE).without(code::SUBNET_MASK))
}

pub fn no_file(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(Reply::plain(asked, address))
}

/// Another server's offer with a file and without an address.
pub fn proxy(asked: &Asked, file: Option<&str>) -> Reply {
    let reply = Reply::pxe(asked, Ipv4Addr::UNSPECIFIED, file.unwrap_or("-"));
    let reply = if file.is_some() { reply } else { nameless(reply).without(code::VENDOR_SPECIFIC) };
    reply.with(code::SERVER_IDENTIFIER, &OTHER.octets()).without(code::LEASE_TIME).edit(|reply| {
        reply.message.siaddr = OTHER;
        reply.from.set_ip(OTHER);
    })
}

/// The DHCP server's offer and the proxy's. The proxy answers only PXE clients, because syslinux.efi has EDK2 ask for
/// an address again, as an ordinary client.
fn both(asked: &Asked, server: Reply, proxy: Reply) -> Vec<Answer> {
    let is_pxe = asked.message.options.get(code::VENDOR_CLASS).is_some();
    [Some(server), is_pxe.then_some(proxy)].into_iter().flatten().map(|reply| reply.answer()).collect()
}

pub fn beside_a_proxy(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        RequestKind::Discover => both(asked, Reply::plain(asked, address), proxy(asked, Some(FILE))),
        _ => one(Reply::plain(asked, address)),
    }
}

pub fn beside_a_proxy_on_4011(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        RequestKind::Discover => both(asked, Reply::plain(asked, address), proxy(asked, None)),
        RequestKind::Request => one(Reply::plain(asked, address)),
        RequestKind::BootServer => one(proxy(asked, Some(FILE)).edit(|reply| reply.from.set_port(4011))),
    }
}

pub fn the_server_names_a_file_too(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let mut answers = vec![Reply::plain(asked, address).file("from-dhcp").answer()];
    answers.extend((asked.question == RequestKind::Discover).then(|| proxy(asked, Some(FILE)).answer()));
    answers
}

pub fn only_a_proxy(asked: &Asked, _: Ipv4Addr) -> Vec<Answer> {
    one(proxy(asked, Some(FILE)))
}

pub fn learns_of_no_proxy(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let server = Reply::plain(asked, address).file("from-dhcp").with(code::ETHERBOOT, &[176, 1, 1]);
    match asked.question {
        RequestKind::Discover => vec![proxy(asked, Some(FILE)).answer(), server.answer()],
        _ => one(server),
    }
}

/// A menu whose first item is on the other server and is chosen without a prompt.
const MENU: &[u8] =
    b"\x06\x01\x03\x08\x07\x00\x09\x01\xc0\xa8\x4d\x02\x09\x06\x00\x09\x03one\x0a\x02\x00?\xff";

pub fn menu(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.question {
        RequestKind::BootServer => {
            let item = [71, 4, 0, 9, 0, 0, 255];
            one(proxy(asked, Some(FILE))
                .with(code::VENDOR_SPECIFIC, &item)
                .edit(|reply| reply.from.set_port(4011)))
        }
        _ => one(nameless(Reply::pxe(asked, address, FILE)).with(code::VENDOR_SPECIFIC, MENU)),
    }
}

pub fn menu_without_answer(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    if asked.question == RequestKind::BootServer { vec![] } else { menu(asked, address) }
}

pub fn url(asked: &Asked, address: Ipv4Addr, class: &[u8], url: &str) -> Reply {
    Reply::plain(asked, address).file(url).with(code::VENDOR_CLASS, class)
}

pub fn tftp_url(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(url(asked, address, b"PXEClient", "tftp://192.168.77.2/dir/x.bin"))
}

pub fn http_url(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(url(asked, address, b"HTTPClient", "http://192.168.77.2/dir/x.bin"))
}

/// First an address without a file, which the machine keeps but does not choose. At the second try only a proxy's file.
pub fn a_proxy_that_comes_late(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match (asked.question, asked.count) {
        (RequestKind::Discover, 1) => no_file(asked, address),
        (RequestKind::Discover, _) => only_a_proxy(asked, address),
        _ => no_file(asked, address),
    }
}

/// First an offer for PXE clients, which HTTP boot ignores. At the second try an offer for HTTP boot.
pub fn not_for_http_then_for_it(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    if asked.question == RequestKind::Discover && asked.count == 1 {
        good(asked, address)
    } else {
        http_url(asked, address)
    }
}

pub fn no_http_url(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    one(url(asked, address, b"HTTPClient", "tftp://192.168.77.2/dir/x.bin"))
}

/// One broken reply for each of EDK2's four tries. EDK2 keeps none of them.
pub fn nothing_to_keep(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    match asked.count {
        1 => without_server_identifier(asked, address),
        2 => only_mtftp(asked, address),
        3 => bad_length(asked, address),
        _ => no_end(asked, address),
    }
}

/// Options 209 and 210 as PXELINUX reads them.
pub fn pxelinux_options(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).with(code::PXELINUX_CONFIG_FILE, b"my.cfg");
    one(reply.with(code::PXELINUX_PATH_PREFIX, b"elsewhere/"))
}

/// Option 67 is the last byte of the reply, and the header names another file.
pub fn no_end_after_67(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).without(code::BOOT_FILE_NAME);
    one(reply.with(code::BOOT_FILE_NAME, b"from-67\0").edit(|reply| reply.end = false))
}

/// Option 52 says that `sname` holds options. Only the header names the file.
pub fn overloaded_sname(asked: &Asked, address: Ipv4Addr) -> Vec<Answer> {
    let reply = Reply::pxe(asked, address, FILE).without(code::BOOT_FILE_NAME).with(code::OVERLOAD, &[2]);
    one(reply.edit(|reply| {
        reply.message.sname = [0; 64];
        reply.message.sname[0] = 255;
    }))
}
