//! How QUIC is set up for pictures that a hand waits for. Every figure has its reason beside it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::udp::UdpSocketState;
use quinn::{EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt};

use crate::congestion::PatientConfig;
use crate::wire::{NODE_ALPN, TERMINAL_VERSIONS};

/// A terminal may be silent this long (a lift, a tunnel) and still be the same connection. Longer,
/// and reconnecting with the ticket is as good.
const TERMINAL_IDLE: Duration = Duration::from_secs(10);

/// Four keep-alives within the idle time: three may be lost.
const TERMINAL_KEEP_ALIVE: Duration = Duration::from_millis(2_500);

/// A node that says nothing for this long to somebody who sends it pictures is gone, and another
/// should have them. Its answers come with every round trip.
const PUBLISHER_IDLE: Duration = Duration::from_secs(4);

/// Three keep-alives within the idle time.
const PUBLISHER_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A node that has been silent this long is gone: the mesh below reroutes within 0.5 s, so what is
/// still silent then is dead.
const NODE_IDLE: Duration = Duration::from_millis(1_500);

/// Three keep-alives within the idle time.
const NODE_KEEP_ALIVE: Duration = Duration::from_millis(400);

/// Streams that a peer may have open. A group is a stream, so this is groups in flight. QUIC keeps a
/// table entry for each allowed stream: ten thousand would cost 1.2 MB a connection.
const UNI_STREAMS: u32 = 1_024;

/// A subscription is a stream both ways; a node link carries those of all who watch behind it.
const BIDI_STREAMS: u32 = 512;

/// What a peer may have sent that nobody has read.
const RECEIVE_WINDOW: u32 = 8 << 20;

/// What may be on its way to a terminal or wait for it: 1 MiB is 84 Mbit/s at 100 ms. A terminal
/// that vanishes holds no more than this until its idle time is over.
pub(crate) const TERMINAL_SEND_WINDOW: u64 = 1 << 20;

/// The same for a node link, which carries the pictures of many.
pub(crate) const NODE_SEND_WINDOW: u64 = 16 << 20;

/// What a connection that has not said who it is may make us hold.
const STRANGER_SEND_WINDOW: u64 = 64 << 10;

/// The first picture is a keyframe of up to 100 kB. At the usual 12 kB it would need four round
/// trips of slow start; paced over the first round trip it needs one.
const INITIAL_WINDOW: u64 = 128 << 10;

/// Before the first measurement. Decides how soon a lost handshake packet is sent again: after 0.3 s
/// instead of 1 s.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted. Beyond, they are refused at no cost to us.
const INCOMING_MAX: usize = 512;

/// What a connection may send before it is accepted, and all of them together.
const INCOMING_BUFFER: u64 = 64 << 10;
const INCOMING_BUFFER_TOTAL: u64 = 8 << 20;

/// What may wait in the system for our one socket, in bytes. The usual 200 kB are 160 acknowledgements
/// (each packet counts with what the system adds), less than a thousand viewers answer one picture
/// with. No gain was measured beyond fewer drops in the system's own count.
const SOCKET_BUFFER: usize = 4 << 20;

/// TLS settings that QUIC cannot use.
#[derive(Debug, thiserror::Error)]
#[error("tls settings do not allow tls 1.3 with aes-128-gcm, which quic needs")]
pub struct UnusableTls(#[source] NoInitialCipherSuite);

/// Settings of the endpoint that serves terminals and nodes. Certificates, their choice by server
/// name or protocol, and the verification of node certificates come with `tls`; a client
/// certificate must be optional there, since terminals have none.
pub fn server_config(mut tls: rustls::ServerConfig) -> Result<quinn::ServerConfig, UnusableTls> {
    tls.alpn_protocols = [web_transport_quinn::ALPN, NODE_ALPN]
        .iter()
        .chain(&TERMINAL_VERSIONS)
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let crypto = QuicServerConfig::try_from(tls).map_err(UnusableTls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport(TERMINAL_IDLE, TERMINAL_KEEP_ALIVE)))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    Ok(config)
}

/// Opens the UDP end at `address`, for all who come and all whom the node dials. Its buffers are as
/// large as [`SOCKET_BUFFER`], or as the system allows.
pub fn open(config: quinn::ServerConfig, address: SocketAddr) -> io::Result<quinn::Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let state = UdpSocketState::new((&socket).into())?;
    state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER)?;
    state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER)?;
    let runtime = Arc::new(TokioRuntime);
    quinn::Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)
}

/// Settings to dial a node with. `tls` holds our own certificate and verifies the other's.
pub fn node_client_config(
    mut tls: rustls::ClientConfig,
) -> Result<quinn::ClientConfig, UnusableTls> {
    tls.alpn_protocols = vec![NODE_ALPN.as_bytes().to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(UnusableTls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(NODE_IDLE, NODE_KEEP_ALIVE)));
    Ok(config)
}

/// Settings to enter a node's door with as a terminal that is no browser. `tls` verifies the node.
pub(crate) fn terminal_client_config(
    mut tls: rustls::ClientConfig,
) -> Result<quinn::ClientConfig, UnusableTls> {
    tls.alpn_protocols = TERMINAL_VERSIONS.map(|it| it.as_bytes().to_vec()).to_vec();
    let crypto = QuicClientConfig::try_from(tls).map_err(UnusableTls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(PUBLISHER_IDLE, PUBLISHER_KEEP_ALIVE)));
    Ok(config)
}

/// The idle time that holds is the smaller of both ends: the dialler's, on a node link.
fn transport(idle: Duration, keep_alive: Duration) -> TransportConfig {
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_WINDOW);
    let idle = IdleTimeout::try_from(idle).expect("a few seconds fit 62 bits of milliseconds");

    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(keep_alive))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(STRANGER_SEND_WINDOW)
        // Streams of one priority go one after the other: a whole packet of sound early beats two
        // halves late.
        .send_fairness(false)
        .initial_rtt(INITIAL_RTT)
        .congestion_controller_factory(Arc::new(PatientConfig(Arc::new(congestion))));
    config
}
