//! Who is connected, how well, and how to make them leave.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Bytes;

use crate::delivery::Account;
use crate::wire::Hop;

/// Numbers a connection for the life of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// A terminal by WebTransport.
    WebTransport,
    /// A terminal by raw QUIC.
    Quic,
    /// A terminal by WebSocket.
    WebSocket,
    /// Another node.
    Node,
}

/// A connection as it was when asked. `None` says that the transport does not measure it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number.
    pub id: ConnectionId,
    /// How the peer is connected.
    pub kind: ConnectionKind,
    /// The name its grant gave it.
    pub label: String,
    /// Where from.
    pub remote: SocketAddr,
    /// The node at the other end of a link.
    pub peer: Option<Hop>,
    /// What pulling over this link costs, where we dialled it.
    pub cost: Option<u64>,
    /// The protocol agreed on.
    pub version: String,
    /// Since when.
    pub since: Instant,
    /// Smoothed round trip.
    pub round_trip: Option<Duration>,
    /// Sent to the peer with all overhead and repeats.
    pub sent: Option<Bytes>,
    /// Received from the peer with all overhead and repeats.
    pub received: Option<Bytes>,
    /// Packets to the peer that were lost.
    pub lost_packets: Option<u64>,
    /// What the congestion controller lets be under way.
    pub congestion_window: Option<Bytes>,
}

/// What a session is known by while it lives.
#[derive(Clone)]
pub(crate) struct Live {
    pub kind: ConnectionKind,
    pub label: String,
    pub remote: SocketAddr,
    pub peer: Option<Hop>,
    pub cost: Option<u64>,
    /// Statistics come from here when there is one; else from the session.
    pub quic: Option<quinn::Connection>,
    /// What a terminal is sent; nodes' links are measured as a whole.
    pub account: Option<Account>,
}

struct Entry {
    live: Live,
    session: moq_net::Session,
    since: Instant,
}

/// The table of live sessions. Bounded by the relay's limit on connections.
#[derive(Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    entries: BTreeMap<ConnectionId, Entry>,
}

impl Connections {
    pub(crate) fn insert(
        &self,
        live: Live,
        session: moq_net::Session,
        now: Instant,
    ) -> ConnectionId {
        let mut table = self.lock();
        let id = ConnectionId(table.next);
        table.next += 1;
        let entry = Entry {
            live,
            session,
            since: now,
        };
        table.entries.insert(id, entry);
        id
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.lock().entries.remove(&id);
    }

    pub(crate) fn snapshot(&self) -> Vec<Connection> {
        let table = self.lock();
        table
            .entries
            .iter()
            .map(|(id, e)| describe(*id, e))
            .collect()
    }

    /// The accounts of terminals whose grant has this label.
    pub(crate) fn accounts(&self, label: &str) -> Vec<(ConnectionId, Account)> {
        let table = self.lock();
        let labelled = table
            .entries
            .iter()
            .filter(|(_, it)| it.live.label == label);
        labelled
            .filter_map(|(id, it)| Some((*id, it.live.account.clone()?)))
            .collect()
    }

    /// Closes those that match; says how many.
    pub(crate) fn close(&self, matches: impl Fn(ConnectionId, &Live) -> bool) -> usize {
        let table = self.lock();
        let mut closed = 0;
        for (id, entry) in &table.entries {
            if matches(*id, &entry.live) {
                entry.session.abort(moq_net::Error::Cancel);
                closed += 1;
            }
        }
        closed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing under the lock can leave the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(id: ConnectionId, entry: &Entry) -> Connection {
    let live = entry.live.clone();
    let mut connection = Connection {
        id,
        kind: live.kind,
        label: live.label,
        remote: live.remote,
        peer: live.peer,
        cost: live.cost,
        version: entry.session.version().to_string(),
        since: entry.since,
        round_trip: None,
        sent: None,
        received: None,
        lost_packets: None,
        congestion_window: None,
    };
    if let Some(quic) = live.quic {
        let stats = quic.stats();
        // A terminal may have moved to another network since.
        connection.remote = quic.remote_address();
        connection.round_trip = Some(stats.path.rtt);
        connection.sent = Some(Bytes::new(stats.udp_tx.bytes));
        connection.received = Some(Bytes::new(stats.udp_rx.bytes));
        connection.lost_packets = Some(stats.path.lost_packets);
        connection.congestion_window = Some(Bytes::new(stats.path.cwnd));
    } else {
        let stats = entry.session.stats();
        connection.round_trip = stats.rtt;
        connection.sent = stats.bytes_sent.map(Bytes::new);
        connection.received = stats.bytes_received.map(Bytes::new);
        connection.lost_packets = stats.packets_lost;
    }
    connection
}
