//! What terminals are sent of each broadcast: who watches what.

use model::Bytes;
use moq_net::stats::{Config, Registry, Report, Tier};

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
        let mut report = Report::default();
        let accounts = self.inner.connections.accounts(label);
        let delivery = |(connection, account): (ConnectionId, Account)| Delivery {
            connection,
            label: label.to_owned(),
            broadcasts: account.broadcasts(&mut report),
        };
        accounts.into_iter().map(delivery).collect()
    }
}

/// Counts what one peer is sent and sends. Gone with its connection, so nothing adds up.
#[derive(Clone)]
pub(crate) struct Account(Registry);

impl Account {
    pub(crate) fn open() -> Self {
        Self(Registry::new(Config::new()))
    }

    /// What takes a terminal's handshake, and counts from then on.
    pub(crate) fn server(&self) -> moq_net::Server {
        let session = self.0.tier(Tier::default()).session("");
        moq_net::Server::new().with_stats(session)
    }

    /// What opens a session to another node, and counts.
    pub(crate) fn client(&self) -> moq_net::Client {
        let session = self.0.tier(Tier::default()).session("");
        moq_net::Client::new().with_stats(session)
    }

    /// Whether anything is subscribed to over it, from either side.
    pub(crate) fn is_used(&self) -> bool {
        let mut report = Report::default();
        self.0.report(&mut report);
        let mut each = report.traffic.iter();
        each.any(|it| {
            it.publisher.active_subscriptions() + it.subscriber.active_subscriptions() > 0
        })
    }

    fn broadcasts(&self, report: &mut Report) -> Vec<(String, Bytes)> {
        self.0.report(report);
        let sent = report.traffic.iter();
        let sent = sent.filter(|it| it.publisher.active_subscriptions() > 0);
        sent.map(|it| (it.path.to_string(), Bytes::new(it.publisher.bytes)))
            .collect()
    }
}
