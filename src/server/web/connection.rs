//! One connection of the web listener. Its limits keep slow clients from holding it for long.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::api::client::Client;
use crate::server::web::stall::Stalling;

/// Maximum time to receive a request's head, from the end of the answer before or from the beginning of the connection.
/// So it limits idle connections too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a request's head in bytes, and its maximum number of fields.
const MAX_HEAD: (usize, usize) = (16 * 1024, 64);

/// Answers the requests of one connection. When the sender of `closed` is dropped, the request that is being answered is
/// the last one.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    closed: watch::Receiver<()>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let client = Client::Web { peer, local };
    // Events are small and should arrive at once.
    let _ = stream.set_nodelay(true);
    // Clients that do not speak TLS or HTTP get no answer.
    match tls {
        None => answer(stream, client, router, closed).await,
        Some(config) => {
            let handshake = TlsAcceptor::from(config).accept(stream);
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, handshake).await {
                answer(stream, client, router, closed).await;
            }
        }
    }
}

async fn answer<S>(stream: S, client: Client, router: Router, mut closed: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        router.call(request)
    });
    let (bytes, fields) = MAX_HEAD;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(bytes)
        .max_headers(fields)
        .serve_connection(TokioIo::new(Stalling::new(stream)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closed.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
