use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::*;

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one real instant to start from"
)]
fn start() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn measure(round_trip: u64, loss: f64, load: f64) -> LinkMeasure {
    LinkMeasure {
        round_trip: ms(round_trip),
        jitter: Duration::ZERO,
        loss,
        load,
    }
}

#[test]
fn a_bad_link_costs_as_much_as_a_long_one() {
    let price = |it: LinkMeasure| it.price().to_string();
    assert_eq!(price(measure(20, 0.0, 0.0)), "20 ms");
    assert_eq!(price(measure(20, 0.01, 0.0)), "30 ms");
    assert_eq!(price(measure(20, 0.0, 0.5)), "20 ms");
    assert_eq!(price(measure(20, 0.0, 0.7)), "30 ms");
    assert_eq!(price(measure(20, 0.0, 0.9)), "40 ms");
    let jittery = LinkMeasure {
        jitter: ms(5),
        ..measure(20, 0.0, 0.0)
    };
    assert_eq!(price(jittery), "40 ms");
    assert_eq!(price(measure(20, f64::NAN, f64::NAN)), "2040 ms");
    assert_eq!(price(measure(u64::MAX / 8, 9.0, -1.0)), "60000 ms");
}

#[test]
fn a_price_follows_what_lasts_and_not_what_passes() {
    let now = start();
    let mut pricer = Pricer::new();
    assert_eq!(pricer.poll_price(), None);
    pricer.handle_measure(&measure(40, 0.0, 0.0), now);
    assert_eq!(pricer.poll_price(), Some(Price::millis(40)));
    // Less than 5 ms or 10 %, and a burst of half a second.
    for (at, round_trip) in [(100, 44), (200, 36), (300, 90), (800, 95), (900, 41)] {
        pricer.handle_measure(&measure(round_trip, 0.0, 0.0), now + ms(at));
    }
    assert_eq!(pricer.poll_price(), None);
    assert_eq!(pricer.poll_timeout(), None);
    pricer.handle_measure(&measure(80, 0.0, 0.0), now + ms(1_000));
    pricer.handle_measure(&measure(70, 0.0, 0.0), now + ms(1_500));
    assert_eq!(pricer.poll_timeout(), Some(now + ms(2_000)));
    pricer.handle_timeout(now + ms(2_000));
    assert_eq!(pricer.poll_price(), Some(Price::millis(70)));
}

#[test]
fn fan_out_has_a_bound() {
    let mut fanout = Fanout::new(2);
    assert!(fanout.admit(NodeId(1)) && fanout.admit(NodeId(2)));
    assert!(!fanout.admit(NodeId(3)));
    assert!(fanout.admit(NodeId(2)), "it is in already");
    fanout.release(NodeId(1));
    assert!(fanout.admit(NodeId(3)) && !fanout.has_room());
}

/// Nodes are numbered from 1; 1 is the source. Messages on a link keep their order and take their
/// time.
struct Net {
    nodes: BTreeMap<NodeId, Graft>,
    links: BTreeMap<(NodeId, NodeId), u64>,
    messages: BTreeMap<(NodeId, NodeId), VecDeque<Option<Offer>>>,
    changes: Vec<(NodeId, Change)>,
    start: Instant,
    now: Instant,
}

impl Net {
    fn new(count: u64) -> Self {
        let start = start();
        let mut net = Self {
            nodes: (1..=count)
                .map(|it| (NodeId(it), Graft::new(NodeId(it), NodeId(1), 7, start)))
                .collect(),
            links: BTreeMap::new(),
            messages: BTreeMap::new(),
            changes: Vec::new(),
            start,
            now: start,
        };
        for node in net.nodes.values_mut() {
            node.handle_demand(true, start);
        }
        net.drain();
        net
    }

    /// As in `1-2=10 2-3=20`: links and their prices in ms.
    fn with(count: u64, links: &str) -> Self {
        let mut net = Self::new(count);
        for link in links.split_whitespace() {
            let (ends, price) = link.split_once('=').unwrap();
            let (a, b) = ends.split_once('-').unwrap();
            net.link(a.parse().unwrap(), b.parse().unwrap(), price.parse().ok());
        }
        net.settle();
        net
    }

    fn link(&mut self, a: u64, b: u64, price: Option<u64>) {
        let (a, b) = (NodeId(a), NodeId(b));
        for (a, b) in [(a, b), (b, a)] {
            match price {
                Some(price) => {
                    let known = self.links.insert((a, b), price).is_some();
                    if !known {
                        let offered = self.nodes[&a].offered();
                        self.messages.insert((a, b), VecDeque::from([offered]));
                    }
                }
                None => {
                    self.links.remove(&(a, b));
                    self.messages.remove(&(a, b));
                }
            }
        }
        let price = price.map(Price::millis);
        let now = self.now;
        for (a, b) in [(a, b), (b, a)] {
            self.nodes.get_mut(&a).unwrap().handle_link(b, price, now);
        }
        self.drain();
    }

    fn drain(&mut self) {
        for (id, node) in &mut self.nodes {
            while let Some(change) = node.poll_change() {
                self.changes.push((*id, change));
            }
            while let Some(offer) = node.poll_offer() {
                let queues = self.messages.iter_mut().filter(|it| it.0.0 == *id);
                queues.for_each(|(_, queue)| queue.push_back(offer));
            }
        }
    }

    /// Delivers the first message of a link.
    fn deliver(&mut self, link: (NodeId, NodeId)) {
        let queue = self.messages.get_mut(&link);
        if let Some(offer) = queue.and_then(VecDeque::pop_front) {
            let to = self.nodes.get_mut(&link.1).unwrap();
            to.handle_offer(link.0, offer, self.now);
            self.drain();
        }
    }

    fn pending(&self) -> Vec<(NodeId, NodeId)> {
        let pending = self.messages.iter().filter(|it| !it.1.is_empty());
        pending.map(|it| *it.0).collect()
    }

    fn deliver_all(&mut self) {
        while let Some(link) = self.pending().first() {
            self.deliver(*link);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for node in self.nodes.values_mut() {
            node.handle_timeout(self.now);
        }
        self.drain();
    }

    /// Until everything is said and every patience is at its end.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.deliver_all();
            self.wait(ms(500));
        }
        self.deliver_all();
    }

    /// As in `2<1 3<2 4<?`.
    fn tree(&self) -> String {
        let parent = |it: &Graft| it.parent().map_or_else(|| "?".into(), |it| it.to_string());
        let nodes = self.nodes.iter().skip(1);
        let words: Vec<String> = nodes
            .map(|(id, it)| format!("{id}<{}", parent(it)))
            .collect();
        words.join(" ")
    }

    #[track_caller]
    fn check_no_loops(&self, what: &str) {
        for id in self.nodes.keys() {
            let mut at = *id;
            for _ in 0..=self.nodes.len() {
                match self.nodes[&at].parent() {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            assert_eq!(self.nodes[&at].parent(), None, "{what}: {}", self.tree());
        }
    }
}

#[test]
fn the_cheapest_way_wins_and_relays_cost() {
    check("1-2=30 2-3=30 1-3=100", "2<1 3<2");
    check("1-2=30 2-3=45 1-3=61", "2<1 3<1");
    check("1-2=10 2-3=10 3-4=10 4-5=10 5-6=10", "2<1 3<2 4<3 5<4 6<?");
    check("2-3=10", "2<? 3<?");
}

#[test]
fn a_small_detour_is_worth_a_shared_link() {
    // By 2 it is 98 + 5 + 2 instead of 100: 3 pulls from its neighbour, not over the ocean again.
    check("1-2=98 1-3=100 2-3=5", "2<1 3<2");
    check("1-2=100 1-3=80 2-3=15", "2<3 3<1");
    check("1-2=100 1-3=80 2-3=40", "2<1 3<1");
}

#[track_caller]
fn check(links: &str, tree: &str) {
    let nodes = 1 + tree.split_whitespace().count() as u64;
    let net = Net::with(nodes, links);
    assert_eq!(net.tree(), tree, "{links}");
}

#[test]
fn who_loses_its_parent_has_the_next_at_once() {
    let mut net = Net::with(4, "1-2=10 1-3=12 2-4=10 3-4=10");
    assert_eq!(net.tree(), "2<1 3<1 4<2");
    net.changes.clear();
    net.link(2, 4, None);
    let change = Change {
        from: Some(NodeId(2)),
        to: Some(NodeId(3)),
        why: Why::Lost,
    };
    assert_eq!(
        net.changes,
        [(NodeId(4), change)],
        "without a message or a wait"
    );
}

#[test]
fn prices_that_swing_move_nobody_and_those_that_stay_do() {
    let mut net = Net::with(3, "1-2=50 2-3=5 1-3=90");
    assert_eq!(net.tree(), "2<1 3<2");
    net.changes.clear();
    for it in 0..20 {
        net.link(1, 3, Some(if it % 2 == 0 { 20 } else { 90 }));
        net.deliver_all();
        net.wait(ms(400));
    }
    assert_eq!(net.changes, []);
    net.link(1, 3, Some(20));
    net.settle();
    assert_eq!(net.tree(), "2<3 3<1");
    let whys: Vec<Why> = net.changes.iter().map(|it| it.1.why).collect();
    assert_eq!(whys, [Why::Better, Why::Better]);
}

#[test]
fn who_has_no_room_is_left_for_the_next() {
    let mut net = Net::with(4, "1-2=10 1-3=20 2-4=10 3-4=10 1-4=200");
    assert_eq!(net.tree(), "2<1 3<1 4<2");
    let now = net.now;
    net.nodes
        .get_mut(&NodeId(4))
        .unwrap()
        .handle_refusal(NodeId(2), now);
    assert_eq!(net.tree(), "2<1 3<1 4<3");
    net.nodes
        .get_mut(&NodeId(2))
        .unwrap()
        .handle_room(false, now);
    net.drain();
    net.settle();
    assert_eq!(net.tree(), "2<1 3<1 4<3", "full is full");
    net.nodes
        .get_mut(&NodeId(2))
        .unwrap()
        .handle_room(true, net.now);
    net.drain();
    net.settle();
    assert_eq!(net.tree(), "2<1 3<1 4<2");
}

#[test]
fn nobody_pulls_what_nobody_needs() {
    let mut net = Net::with(3, "1-2=10 2-3=10");
    let now = net.now;
    net.changes.clear();
    net.nodes
        .get_mut(&NodeId(3))
        .unwrap()
        .handle_demand(false, now);
    net.drain();
    let change = Change {
        from: Some(NodeId(2)),
        to: None,
        why: Why::Unwanted,
    };
    assert_eq!(net.changes, [(NodeId(3), change)]);
    let offer = net.nodes[&NodeId(3)].offered().unwrap();
    assert!(!offer.carries && offer.price == Price::millis(22));
}

/// Prices change, links die and return, messages take their time and arrive in any order between
/// links: whoever follows the parents never walks in a circle, and in the end everybody is served.
#[test]
fn there_is_never_a_loop() {
    for seed in 1..=60 {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed);
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) % below
        };
        let mut net = Net::new(8);
        for step in 0..600 {
            match next(10) {
                0 => {
                    let (a, b) = (1 + next(8), 1 + next(8));
                    let price = (next(4) > 0).then(|| 1 + next(200));
                    if a != b
                        && (price.is_some() || net.links.contains_key(&(NodeId(a), NodeId(b))))
                    {
                        net.link(a, b, price);
                    }
                }
                1 => net.wait(ms(next(400))),
                2 => {
                    let (node, room, now) = (NodeId(2 + next(7)), next(3) > 0, net.now);
                    net.nodes.get_mut(&node).unwrap().handle_room(room, now);
                    net.drain();
                }
                _ => {
                    let pending = net.pending();
                    if !pending.is_empty() {
                        let at = usize::try_from(next(pending.len() as u64)).unwrap();
                        net.deliver(pending[at]);
                    }
                }
            }
            net.check_no_loops(&format!("seed {seed}, step {step}"));
        }
        for it in 2..=8 {
            let now = net.now;
            net.nodes
                .get_mut(&NodeId(it))
                .unwrap()
                .handle_room(true, now);
            net.link(1, it, Some(100 + it));
        }
        net.settle();
        assert!(!net.tree().contains('?'), "seed {seed}: {}", net.tree());
        assert!(net.now > net.start);
        net.changes.clear();
        net.settle();
        assert_eq!(net.changes, [], "seed {seed}: it does not come to rest");
    }
}
