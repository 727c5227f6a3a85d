//! Where cameras come in: a port for each way to publish that the node was given.

use std::net::SocketAddr;
use std::sync::Arc;

use api::link::Ingest;
use api::node::Endpoint;
use relay::ingest::rtmp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Door, Live};
use crate::config::Config;
use crate::error::EdgeError;

/// The bound ports.
pub(crate) struct Gates {
    rtmp: Option<TcpListener>,
}

impl Gates {
    pub(crate) async fn bind(config: &Config) -> Result<Self, EdgeError> {
        let rtmp = match config.rtmp {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| EdgeError::Listen { address, source })?,
            ),
            None => None,
        };
        Ok(Self { rtmp })
    }

    /// Where cameras reach them: at the host that everybody reaches the node at.
    pub(crate) fn addresses(&self, config: &Config, entry: SocketAddr) -> Ingest {
        let public = Endpoint::choose(&config.endpoints, None);
        let host = public.and_then(|it| it.rsplit_once(':'));
        let host = host.map_or_else(|| host_of(entry), |(host, _)| host.to_owned());
        let port = |it: &TcpListener| it.local_addr().map(|it| it.port()).ok();
        let rtmp = self.rtmp.as_ref().and_then(port);
        Ingest {
            rtmp: rtmp.map(|port| format!("{host}:{port}")),
            srt: None,
        }
    }

    /// Takes cameras until `stop`.
    pub(crate) fn open(self, live: &Arc<Live>, stop: &CancellationToken) {
        let Some(listener) = self.rtmp else { return };
        let tracker = live.shared.tracker.clone();
        let door = Arc::new(Door(Arc::clone(live)));
        let serve = rtmp::serve(listener, door, tracker.clone(), stop.clone());
        tracker.spawn(serve);
    }
}

/// As it stands in an address.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
