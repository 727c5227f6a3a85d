//! What terminals are sent of each broadcast: who watches what.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Bytes;

use crate::connections::ConnectionId;
use crate::relay::Relay;

/// What a terminal was sent so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The terminal's connection.
    pub connection: ConnectionId,
    /// The name its grant gave it.
    pub label: String,
    /// Broadcasts it subscribes to, and the payload it was sent of each. Counted anew when it comes
    /// back to a broadcast that it had left.
    pub broadcasts: Vec<(String, Bytes)>,
}

impl Relay {
    /// What each terminal is sent whose grant has this label.
    pub fn deliveries(&self, label: &str) -> Vec<Delivery> {
        let accounts = self.inner.connections.accounts(label);
        let delivery = |(connection, account): (ConnectionId, Account)| Delivery {
            connection,
            label: label.to_owned(),
            broadcasts: account.sent(),
        };
        accounts.into_iter().map(delivery).collect()
    }
}

/// Counts what one terminal is sent. Gone with its connection, so nothing adds up.
#[derive(Clone, Default)]
pub(crate) struct Account(Arc<Mutex<BTreeMap<String, Sent>>>);

/// What is sent of one broadcast.
#[derive(Default)]
struct Sent {
    subscriptions: usize,
    bytes: Arc<AtomicU64>,
}

impl Account {
    /// Counts one subscription to a broadcast, for as long as the result lives.
    pub(crate) fn counter(&self, path: &str) -> Counter {
        let mut broadcasts = self.broadcasts();
        let sent = broadcasts.entry(path.to_owned()).or_default();
        sent.subscriptions += 1;
        Counter {
            account: self.clone(),
            path: path.to_owned(),
            bytes: sent.bytes.clone(),
        }
    }

    fn sent(&self) -> Vec<(String, Bytes)> {
        let broadcasts = self.broadcasts();
        let each = broadcasts.iter();
        each.map(|(path, it)| (path.clone(), Bytes::new(it.bytes.load(Ordering::Relaxed))))
            .collect()
    }

    fn broadcasts(&self) -> MutexGuard<'_, BTreeMap<String, Sent>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what one subscription is sent.
pub(crate) struct Counter {
    account: Account,
    path: String,
    bytes: Arc<AtomicU64>,
}

impl Counter {
    /// That much more.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let mut broadcasts = self.account.broadcasts();
        if let Entry::Occupied(mut sent) = broadcasts.entry(std::mem::take(&mut self.path)) {
            sent.get_mut().subscriptions -= 1;
            if sent.get().subscriptions == 0 {
                sent.remove();
            }
        }
    }
}
