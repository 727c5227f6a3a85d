//! What the center counts, as Prometheus reads it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shared::Shared;

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) http: HttpMetrics,
    pub(crate) links: LinkMetrics,
    pub(crate) sessions: SessionMetrics,
    pub(crate) events: EventMetrics,
}

/// Requests of people and terminals. Not counted: connections that never sent a whole request.
#[derive(Default)]
pub(crate) struct HttpMetrics {
    pub(crate) requests: Counter,
    pub(crate) client_errors: Counter,
    pub(crate) server_errors: Counter,
    pub(crate) connections_refused: Counter,
}

/// Links of nodes. Not counted: handshakes that failed.
#[derive(Default)]
pub(crate) struct LinkMetrics {
    pub(crate) connected: Counter,
    pub(crate) lost: Counter,
    pub(crate) summaries: Counter,
    pub(crate) plans_sent: Counter,
}

/// Decisions about sessions. Not counted: renewals that changed nothing.
#[derive(Default)]
pub(crate) struct SessionMetrics {
    pub(crate) created: Counter,
    pub(crate) restarted: Counter,
    pub(crate) moved_entry: Counter,
    pub(crate) no_place: Counter,
    pub(crate) reservations_refused: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) collected: Counter,
    pub(crate) strays_stopped: Counter,
}

/// The event stream. Not counted: keep-alive comments.
#[derive(Default)]
pub(crate) struct EventMetrics {
    pub(crate) published: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) lagged: Counter,
}

/// All of it in the text format of Prometheus.
pub(crate) async fn text(shared: &Shared) -> String {
    let Metrics {
        http,
        links,
        sessions,
        events,
    } = &shared.metrics;
    let counters: [(&str, &Counter); 19] = [
        ("http_requests_total", &http.requests),
        ("http_client_errors_total", &http.client_errors),
        ("http_server_errors_total", &http.server_errors),
        ("http_connections_refused_total", &http.connections_refused),
        ("links_connected_total", &links.connected),
        ("links_lost_total", &links.lost),
        ("link_summaries_total", &links.summaries),
        ("plans_sent_total", &links.plans_sent),
        ("sessions_created_total", &sessions.created),
        ("sessions_restarted_total", &sessions.restarted),
        ("sessions_moved_entry_total", &sessions.moved_entry),
        ("sessions_no_place_total", &sessions.no_place),
        ("reservations_refused_total", &sessions.reservations_refused),
        ("session_conflicts_total", &sessions.conflicts),
        ("sessions_collected_total", &sessions.collected),
        ("session_strays_stopped_total", &sessions.strays_stopped),
        ("events_published_total", &events.published),
        ("event_snapshots_total", &events.snapshots),
        ("event_clients_lagged_total", &events.lagged),
    ];
    let mut text = String::new();
    for (name, counter) in counters {
        line(&mut text, name, "counter", counter.value());
    }
    let (nodes, ready, live, apps) = {
        let world = shared.world();
        let ready = world.ready().count();
        let (nodes, live) = (world.nodes.len(), world.sessions.len());
        (nodes, ready, live, world.apps.len())
    };
    for (name, number) in [
        ("nodes", nodes),
        ("nodes_ready", ready),
        ("sessions", live),
        ("apps", apps),
    ] {
        line(&mut text, name, "gauge", number as u64);
    }
    // A store that fails shows in /readyz.
    if let Ok(revision) = shared.records.revision().await {
        line(&mut text, "store_revision", "gauge", revision.0);
    }
    line(
        &mut text,
        "uptime_seconds",
        "gauge",
        shared.started.elapsed().as_secs(),
    );
    text
}

fn line(text: &mut String, name: &str, kind: &str, value: u64) {
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "# TYPE selvedge_center_{name} {kind}\nselvedge_center_{name} {value}"
    );
}
