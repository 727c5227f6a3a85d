//! Where cameras come in: a port for each way to publish that the node was given.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use api::link::Ingest;
use api::node::Endpoint;
use axum::Router;
use relay::ingest::rtmp;
use relay::ingest::srt::{Srt, SrtConfig};
use relay::webrtc::WebRtc;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Door, Live, webrtc};
use crate::config::Config;
use crate::error::EdgeError;

/// The bound ports.
pub(crate) struct Gates {
    rtmp: Option<TcpListener>,
    srt: Option<UdpSocket>,
    webrtc: Option<UdpSocket>,
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
        let srt = udp(config.srt).await?;
        let webrtc = udp(config.webrtc).await?;
        Ok(Self { rtmp, srt, webrtc })
    }

    /// Where cameras reach them: at the host that everybody reaches the node at.
    pub(crate) fn addresses(&self, config: &Config, entry: SocketAddr) -> Ingest {
        let host = host(config, entry);
        let rtmp = self.rtmp.as_ref().map(TcpListener::local_addr);
        let srt = self.srt.as_ref().map(UdpSocket::local_addr);
        let reached = |it: io::Result<SocketAddr>| Some(format!("{host}:{}", it.ok()?.port()));
        Ingest {
            rtmp: rtmp.and_then(reached),
            srt: srt.and_then(reached),
            webrtc: self.webrtc.as_ref().map(|_| {
                // Offers go to the door that everybody enters by.
                let public = Endpoint::choose(&config.endpoints, None);
                let public = public.map_or_else(|| entry.to_string(), str::to_owned);
                let scheme = match config.certificate {
                    Some(_) => "https",
                    None => "http",
                };
                format!("{scheme}://{public}")
            }),
        }
    }

    /// Takes cameras until `stop`. What is asked for by HTTP is answered by the routes it returns.
    pub(crate) fn open(
        self,
        live: &Arc<Live>,
        entry: SocketAddr,
        stop: &CancellationToken,
    ) -> Router {
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
        let Some(socket) = self.webrtc else {
            return Router::new();
        };
        let host = host(&live.shared.config, entry);
        let port = socket.local_addr().map(|it| it.port());
        let webrtc = port.and_then(|port| {
            let webrtc = WebRtc::new(socket, tracker.clone(), stop.clone())?;
            Ok((webrtc, port))
        });
        match webrtc {
            Ok((webrtc, port)) => {
                let run = webrtc.clone();
                tracker.spawn(async move { run.run().await });
                let webrtc = live.webrtc.get_or_init(|| webrtc).clone();
                webrtc::router(Arc::clone(live), webrtc, &host, port)
            }
            Err(error) => {
                warn!(%error, "no sessions are taken by WebRTC");
                Router::new()
            }
        }
    }
}

async fn udp(address: Option<SocketAddr>) -> Result<Option<UdpSocket>, EdgeError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let socket = UdpSocket::bind(address).await;
    let socket = socket.map_err(|source| EdgeError::Listen { address, source })?;
    Ok(Some(socket))
}

/// Who everybody knows the node as.
fn host(config: &Config, entry: SocketAddr) -> String {
    let public = Endpoint::choose(&config.endpoints, None);
    let host = public.and_then(|it| it.rsplit_once(':'));
    host.map_or_else(|| host_of(entry), |(host, _)| host.to_owned())
}

/// As it stands in an address.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
