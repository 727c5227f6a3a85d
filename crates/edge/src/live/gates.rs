//! Where cameras come in: a port for each way to publish that the node was given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use api::link::Ingest;
use api::node::Endpoint;
use relay::ingest::rtmp;
use relay::ingest::srt::{Srt, SrtConfig};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::{Door, Live};
use crate::config::Config;
use crate::error::EdgeError;

/// The bound ports.
pub(crate) struct Gates {
    rtmp: Option<TcpListener>,
    srt: Option<UdpSocket>,
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
        let srt = match config.srt {
            Some(address) => Some(
                UdpSocket::bind(address)
                    .await
                    .map_err(|source| EdgeError::Listen { address, source })?,
            ),
            None => None,
        };
        Ok(Self { rtmp, srt })
    }

    /// Where cameras reach them: at the host that everybody reaches the node at.
    pub(crate) fn addresses(&self, config: &Config, entry: SocketAddr) -> Ingest {
        let public = Endpoint::choose(&config.endpoints, None);
        let host = public.and_then(|it| it.rsplit_once(':'));
        let host = host.map_or_else(|| host_of(entry), |(host, _)| host.to_owned());
        let rtmp = self.rtmp.as_ref().map(TcpListener::local_addr);
        let srt = self.srt.as_ref().map(UdpSocket::local_addr);
        let reached = |it: io::Result<SocketAddr>| Some(format!("{host}:{}", it.ok()?.port()));
        Ingest {
            rtmp: rtmp.and_then(reached),
            srt: srt.and_then(reached),
        }
    }

    /// Takes cameras until `stop`.
    pub(crate) fn open(self, live: &Arc<Live>, stop: &CancellationToken) {
        let tracker = live.shared.tracker.clone();
        let door = Arc::new(Door(Arc::clone(live)));
        if let Some(listener) = self.rtmp {
            let serve = rtmp::serve(listener, door.clone(), tracker.clone(), stop.clone());
            tracker.spawn(serve);
        }
        if let Some(socket) = self.srt {
            let config = SrtConfig::default();
            let srt = Srt::new(socket, config, door, tracker.clone(), stop.clone());
            let srt = srt.expect("without a passphrase none is wrong");
            tracker.spawn(srt.run());
        }
    }
}

/// As it stands in an address.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
