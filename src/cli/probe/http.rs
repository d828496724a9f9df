//! Downloads a URL like UEFI HTTP boot and iPXE: HEAD for the size (UEFI only), then GET, on one connection.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, lookup_host};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::probe::Firmware;
use crate::types::Escaped;

/// Maximum number of pieces of the file that wait for the machine.
const MAX_PIECES: usize = 8;
/// Maximum number of redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Progress of a download.
#[derive(Debug)]
pub(super) enum Event {
    /// The server has the file. The size is `None` if it did not send one.
    Begun(Option<u64>),
    /// The next bytes.
    Data(Bytes),
    /// The file is complete.
    Ended,
    /// The download failed. The text is printable.
    Failed(String),
}

/// Downloads `url` from the source address `from`, in a separate task. The task ends when the receiver is dropped.
pub(super) fn get(url: String, head: bool, firmware: Firmware, from: Ipv4Addr) -> Receiver<Event> {
    let (sender, receiver) = channel(MAX_PIECES);
    tokio::spawn(async move {
        if let Err(why) = load(url, head, firmware, from, &sender).await {
            let _ = sender.send(Event::Failed(why)).await;
        }
    });
    receiver
}

async fn load(
    mut url: String,
    head: bool,
    firmware: Firmware,
    from: Ipv4Addr,
    events: &Sender<Event>,
) -> Result<(), String> {
    for _ in 0..=MAX_REDIRECTS {
        let target = Target::read(&url)?;
        let mut connection = target.connect(from).await?;
        let mut size = None;
        if head {
            let response = target.request(&mut connection, Method::HEAD, firmware).await?;
            if let Some(next) = redirection(&response, &target)? {
                url = next;
                continue;
            }
            size = length(&response);
        }
        let response = target.request(&mut connection, Method::GET, firmware).await?;
        if let Some(next) = redirection(&response, &target)? {
            url = next;
            continue;
        }
        let _ = events.send(Event::Begun(size.or(length(&response)))).await;
        return forward_body(response, events).await;
    }
    Err(format!("it was redirected more than {MAX_REDIRECTS} times, last to {}", printable(&url)))
}

async fn forward_body(response: Response<Incoming>, events: &Sender<Event>) -> Result<(), String> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the connection broke: {error}"))?;
        if let Ok(data) = frame.into_data()
            && events.send(Event::Data(data)).await.is_err()
        {
            return Ok(());
        }
    }
    let _ = events.send(Event::Ended).await;
    Ok(())
}

/// The parts of a URL.
struct Target {
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn read(url: &str) -> Result<Target, String> {
        let bad = || format!("{} is not a URL that begins http://", printable(url));
        let uri: Uri = url.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") {
            return Err(bad());
        }
        let authority = uri.authority().ok_or_else(bad)?;
        Ok(Target {
            authority: authority.to_string(),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }

    /// Connects to the server. Host names are resolved by this computer, not by the DNS server of the offer.
    async fn connect(&self, from: Ipv4Addr) -> Result<SendRequest<Empty<Bytes>>, String> {
        let host = printable(&self.host);
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let mut found = found.map_err(|error| format!("{host} has no address: {error}"))?;
        let to = found.find(SocketAddr::is_ipv4).ok_or_else(|| format!("{host} has no IPv4 address"))?;
        let connect = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddrV4::new(from, 0).into())?;
            socket.connect(to).await
        };
        let stream = connect.await.map_err(|error| format!("no connection to {to}: {error}"))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| format!("{to}: {error}"))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a request. Returns the response if it is the file or a redirect.
    async fn request(
        &self,
        connection: &mut SendRequest<Empty<Bytes>>,
        method: Method,
        firmware: Firmware,
    ) -> Result<Response<Incoming>, String> {
        let agent = if firmware == Firmware::UefiHttp { "UefiHttpBoot/1.0" } else { "iPXE/1.21.1" };
        let request = Request::builder()
            .method(method.clone())
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "*/*")
            .header(USER_AGENT, agent)
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let broken = |error| format!("no answer to {method}: {error}");
        connection.ready().await.map_err(broken)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        Err(format!("the web server answered {status} to {method}"))
    }
}

/// The target of a redirect; `None` if the response is not a redirect.
fn redirection(response: &Response<Incoming>, target: &Target) -> Result<Option<String>, String> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or("it was redirected to nowhere (no Location)")?;
    let absolute = match location.strip_prefix('/') {
        Some(path) => format!("http://{}/{path}", target.authority),
        None => location.to_owned(),
    };
    Ok(Some(absolute))
}

fn length(response: &Response<Incoming>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn printable(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}
