//! The TCP port: connections, TLS, and bounds on both.
//!
//! A connection must be quick to say what it wants (TLS, the head of a request); the rest is
//! bounded by `super::bound`.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::TlsFiles;
use crate::error::LoadError;
use crate::shared::Shared;

/// Connections at once: browsers hold six each, and every one costs a few kilobytes.
const CONNECTIONS_MAX: usize = 2_048;

/// The head of a request, or the time between two requests on one connection.
const HEAD_MAX: Duration = Duration::from_secs(20);

/// The handshake of TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Unread bytes of one connection: the head of a request must fit.
const BUFFER_MAX: usize = 64 * 1024;

/// Headers of one request. Browsers send about twenty.
const HEADERS_MAX: usize = 64;

/// After a failed accept (no file descriptors left) the system gets a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may take to end at shutdown.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// The HTTP port.
pub(crate) struct HttpServer {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl HttpServer {
    pub(crate) fn new(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        Self { listener, tls }
    }

    /// Serves until `stop`, then lets requests end within a bounded time.
    pub(crate) async fn run(self, shared: Arc<Shared>, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let tasks = TaskTracker::new();
        let router = super::router(Arc::clone(&shared), stop.clone());
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
                shared.metrics.http.connections_refused.add(1);
                continue;
            };
            let connection = Connection {
                router: router.clone(),
                peer,
                stop: stop.clone(),
                _permit: permit,
            };
            tasks.spawn(connection.serve(stream, self.tls.clone()));
        }
        drop(self.listener);
        tasks.close();
        if tokio::time::timeout(STOP_WAIT, tasks.wait()).await.is_err() {
            tracing::info!(left = tasks.len(), "connections were still open");
        }
    }
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.http(stream).await;
        };
        match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no tls"),
            Err(_) => tracing::debug!(peer = %self.peer, "the tls handshake took too long"),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = TowerToHyperService::new(self.router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(BUFFER_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(STOP_WAIT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection broke");
        }
    }
}

/// Reads the certificate and its key.
pub(crate) fn tls(files: &TlsFiles) -> Result<TlsAcceptor, LoadError> {
    let chain = read_chain(&files.certificate)
        .map_err(|source| certificate_error(&files.certificate, source))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| certificate_error(&files.key, io::Error::other(source.to_string())))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .and_then(|it| it.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| certificate_error(&files.certificate, source))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read_chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let reader = BufReader::new(File::open(path)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(reader).collect();
    let chain = chain.map_err(|error| io::Error::other(error.to_string()))?;
    if chain.is_empty() {
        return Err(io::Error::other("there is no certificate in it"));
    }
    Ok(chain)
}

fn certificate_error(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> LoadError {
    LoadError::Certificate {
        path: path.to_owned(),
        source: source.into(),
    }
}
