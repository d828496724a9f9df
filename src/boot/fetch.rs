//! How clients fetch files from this server: the ports of HTTP and TFTP, and the URLs made from them.

use std::net::IpAddr;

/// The placeholder for the server's address in boot file names.
pub const SERVER: &str = "{server}";

/// Default ports. URLs leave them out.
pub(in crate::boot) const HTTP_PORT: u16 = 80;
pub(in crate::boot) const TFTP_PORT: u16 = 69;

/// The protocols that serve boot files, and their ports.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Served {
    /// The TCP port of HTTP; `None` if HTTP is off.
    pub http: Option<u16>,
    /// The UDP port of TFTP; `None` if TFTP is off.
    pub tftp: Option<u16>,
}

impl Served {
    /// Returns the URL of the file `name` on our address `server`. It uses HTTP if that is on, else TFTP.
    pub fn url(self, server: IpAddr, name: &str) -> String {
        let (scheme, port, usual) = match (self.http, self.tftp) {
            (Some(port), _) => ("http", port, HTTP_PORT),
            (None, port) => ("tftp", port.unwrap_or(TFTP_PORT), TFTP_PORT),
        };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        format!("{scheme}://{}{port}/{}", host(server), in_url(name))
    }
}

/// Returns `server` as the host of a URL: an IPv6 address is in brackets (RFC 3986 section 3.2.2).
pub fn host(server: IpAddr) -> String {
    match server {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Escapes a file name for the path of a URL, so that loaders read the URL as one word.
fn in_url(name: &str) -> String {
    name.replace('%', "%25").replace(' ', "%20").replace('#', "%23").replace('?', "%3F")
}
