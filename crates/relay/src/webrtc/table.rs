//! Which session a datagram belongs to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::address;

/// Addresses of one session. A browser tries each of its networks; of more than these the oldest is
/// forgotten.
const REMOTES_MAX: usize = 8;

/// What came from where.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) remote: SocketAddr,
    pub(super) data: Bytes,
}

/// A session as the socket sees it.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    label: String,
    queue: mpsc::Sender<Datagram>,
    stop: CancellationToken,
    /// Invariant: exactly those that lead here in `by_remote`.
    remotes: VecDeque<SocketAddr>,
}

impl Row {
    pub(super) fn new(
        name: String,
        label: String,
        queue: mpsc::Sender<Datagram>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            name,
            label,
            queue,
            stop,
            remotes: VecDeque::new(),
        }
    }
}

/// Every session.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<String, Row>,
    by_name: BTreeMap<String, String>,
    by_remote: BTreeMap<SocketAddr, String>,
}

impl Table {
    /// Adds a session, if there are less than `most`.
    pub(super) fn insert(&mut self, id: String, row: Row, most: usize) -> bool {
        if self.rows.len() >= most {
            return false;
        }
        self.by_name.insert(row.name.clone(), id.clone());
        self.rows.insert(id, row);
        true
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(row) = self.rows.remove(id) {
            self.by_name.remove(&row.name);
            for remote in row.remotes {
                self.by_remote.remove(&remote);
            }
        }
    }

    /// Asks a session to end. Says whether there is one.
    pub(super) fn stop(&self, id: &str) -> bool {
        let row = self.rows.get(id);
        row.map(|it| it.stop.cancel()).is_some()
    }

    pub(super) fn labels(&self) -> Vec<String> {
        self.rows.values().map(|it| it.label.clone()).collect()
    }

    /// Hands a datagram to its session, if it has one that takes it.
    pub(super) fn route(&self, remote: SocketAddr, data: &[u8]) {
        let id = match address::session(data) {
            Some(name) => self.by_name.get(name),
            None => self.by_remote.get(&remote),
        };
        if let Some(row) = id.and_then(|it| self.rows.get(it)) {
            // Nothing is copied for a session that is behind. What is lost here is asked for again.
            if let Ok(place) = row.queue.try_reserve() {
                place.send(Datagram {
                    remote,
                    data: Bytes::copy_from_slice(data),
                });
            }
        }
    }

    /// From now on what comes from `remote` is of this session, which has shown its password from
    /// there. An address of another session stays there: nobody can pretend it away.
    pub(super) fn learn(&mut self, id: &str, remote: SocketAddr) {
        if self.by_remote.contains_key(&remote) {
            return;
        }
        let Some(row) = self.rows.get_mut(id) else {
            return;
        };
        if row.remotes.len() == REMOTES_MAX
            && let Some(oldest) = row.remotes.pop_front()
        {
            self.by_remote.remove(&oldest);
        }
        row.remotes.push_back(remote);
        self.by_remote.insert(remote, id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> (Row, mpsc::Receiver<Datagram>) {
        let (tx, rx) = mpsc::channel(1);
        let row = Row::new(name.into(), name.into(), tx, CancellationToken::new());
        (row, rx)
    }

    fn remote(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn datagrams_find_their_session_and_no_other() {
        let mut table = Table::default();
        let ((a, mut a_rx), (b, mut b_rx), (c, _)) = (row("a"), row("b"), row("c"));
        assert!(table.insert("1".into(), a, 2) && table.insert("2".into(), b, 2));
        assert!(!table.insert("3".into(), c, 2), "there is room for two");
        table.route(remote(1), b"media of a stranger");
        assert!(a_rx.try_recv().is_err() && b_rx.try_recv().is_err());

        table.learn("1", remote(1));
        table.learn("2", remote(1));
        table.learn("9", remote(2));
        table.route(remote(1), b"media");
        table.route(remote(1), b"more than it takes");
        assert_eq!(a_rx.try_recv().unwrap().data, b"media"[..]);
        assert!(a_rx.try_recv().is_err() && b_rx.try_recv().is_err());

        table.remove("1");
        table.route(remote(1), b"media");
        table.learn("2", remote(1));
        table.route(remote(1), b"new owner");
        assert_eq!(b_rx.try_recv().unwrap().data, b"new owner"[..]);
        assert!(table.stop("2") && !table.stop("1"));
        assert_eq!(table.labels(), ["b"]);
    }

    #[test]
    fn a_session_has_few_addresses() {
        let mut table = Table::default();
        let (row, mut rx) = row("a");
        assert!(table.insert("1".into(), row, 1));
        for port in 0..100 {
            table.learn("1", remote(port));
        }
        assert_eq!(table.by_remote.len(), REMOTES_MAX);
        table.route(remote(0), b"forgotten");
        table.route(remote(99), b"newest");
        assert_eq!(rx.try_recv().unwrap().data, b"newest"[..]);
        table.remove("1");
        assert!(table.by_remote.is_empty() && table.by_name.is_empty());
    }
}
