//! Reads the certificate and the key of `web.tls`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// Reads both files.
///
/// # Errors
/// A file cannot be read, or key and certificate do not belong together, with the key of config.yaml.
pub(super) fn load(files: &Tls) -> Result<Arc<ServerConfig>, String> {
    let certificate = read("cert", &files.cert)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let chain = chain.map_err(|error| format!("web.tls.cert: {}: {error}", files.cert.display()))?;
    if chain.is_empty() {
        return Err(format!("web.tls.cert: {} has no certificate in PEM format", files.cert.display()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read("key", &files.key)?).map_err(|error| {
        format!("web.tls.key: {} has no private key in PEM format: {error}", files.key.display())
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder =
        builder.with_safe_default_protocol_versions().map_err(|error| format!("web.tls: {error}"))?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| {
        format!("web.tls: {} and {} do not work together: {error}", files.cert.display(), files.key.display())
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; the user that the server runs as must be able to read it, and a file in a folder that the running \
                 server could not read at its start needs a restart of lanboot"
            }
            _ => "",
        };
        format!("web.tls.{key}: cannot read {}: {error}{advice}", path.display())
    })
}
