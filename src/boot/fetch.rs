//! How clients fetch files from this server: the ports of HTTP and TFTP, and URLs.

use std::net::Ipv4Addr;

/// The usual ports, which are left out of URLs.
pub(in crate::boot) const HTTP_PORT: u16 = 80;
pub(in crate::boot) const TFTP_PORT: u16 = 69;

/// How files are fetched from us.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Served {
    /// The TCP port of HTTP, if it is on.
    pub http: Option<u16>,
    /// The UDP port of TFTP, if it is on.
    pub tftp: Option<u16>,
}

impl Served {
    /// The URL of the file `name` at our address `server`: by HTTP if that is on.
    pub fn url(self, server: Ipv4Addr, name: &str) -> String {
        let (scheme, port, usual) = match (self.http, self.tftp) {
            (Some(port), _) => ("http", port, HTTP_PORT),
            (None, port) => ("tftp", port.unwrap_or(TFTP_PORT), TFTP_PORT),
        };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        format!("{scheme}://{server}{port}/{}", in_url(name))
    }
}

/// The name of a file as the path of a URL that stays one word.
fn in_url(name: &str) -> String {
    name.replace('%', "%25").replace(' ', "%20").replace('#', "%23").replace('?', "%3F")
}
