//! The overlay as edges grow it: each with its own [`Graft`], in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use logic::routing::{Fanout, Graft, LinkMeasure, Offer, Price};
use model::NodeId;

use super::world::World;

/// Links of an edge: to so many nearest cities ...
const NEAR: usize = 8;

/// ... and to so many anywhere, so that there are no islands.
const ANYWHERE: usize = 8;

/// From one look at the clock to the next: every patience is longer.
const TICK: Duration = Duration::from_millis(500);

/// By then everybody's patience has ended several times.
const SETTLE_TICKS: usize = 30;

/// One broadcast's tree.
pub(super) struct Overlay {
    source: usize,
    grafts: Vec<Graft>,
    fanouts: Vec<Fanout>,
    links: Vec<BTreeMap<usize, Price>>,
    messages: VecDeque<(usize, usize, Option<Offer>)>,
    dead: BTreeSet<usize>,
    now: Instant,
}

impl Overlay {
    /// All cities join, one after the other in an order that means nothing. A node takes so many
    /// children.
    pub(super) fn grow(world: &World, source: usize, fanout: usize) -> Self {
        let now = Instant::now();
        let count = world.len();
        let graft = |it| Graft::new(id(it), id(source), 1, now);
        let mut overlay = Self {
            source,
            grafts: (0..count).map(graft).collect(),
            fanouts: vec![Fanout::new(fanout); count],
            links: links(world, source),
            messages: VecDeque::new(),
            dead: BTreeSet::new(),
            now,
        };
        overlay.grafts[source].handle_demand(true, now);
        overlay.drain(source);
        for a in 0..count {
            for (b, price) in overlay.links[a].clone() {
                overlay.grafts[a].handle_link(id(b), Some(price), now);
            }
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|it| mix(*it as u64 + 977 * source as u64));
        for it in order {
            overlay.deliver();
            overlay.grafts[it].handle_demand(true, now);
            overlay.drain(it);
        }
        overlay.settle();
        overlay
    }

    /// Until everything is said and nobody wants to move.
    pub(super) fn settle(&mut self) {
        for _ in 0..SETTLE_TICKS {
            self.deliver();
            self.now += TICK;
            for it in 0..self.grafts.len() {
                if !self.dead.contains(&it) {
                    self.grafts[it].handle_timeout(self.now);
                    self.drain(it);
                }
            }
        }
        self.deliver();
    }

    /// City by city from the source to each city that is alive.
    pub(super) fn paths(&self) -> super::Paths {
        let alive = (0..self.grafts.len()).filter(|it| !self.dead.contains(it));
        alive.map(|it| self.path(it)).collect()
    }

    pub(super) fn unserved(&self) -> usize {
        self.paths().iter().filter(|it| it.is_empty()).count()
    }

    /// The relay with the most children dies, and its neighbours notice. Says how many children it
    /// had, and how many of them had another parent right away.
    pub(super) fn kill_busiest_relay(&mut self) -> (usize, usize) {
        let relays = (0..self.grafts.len()).filter(|it| *it != self.source);
        let Some(relay) = relays.max_by_key(|it| self.fanouts[*it].len()) else {
            return (0, 0);
        };
        let all = 0..self.grafts.len();
        let orphans: Vec<usize> = all
            .filter(|it| self.grafts[*it].parent() == Some(id(relay)))
            .collect();
        self.dead.insert(relay);
        self.messages.retain(|it| it.0 != relay && it.1 != relay);
        for it in 0..self.grafts.len() {
            if it != relay && self.links[it].remove(&relay).is_some() {
                self.grafts[it].handle_link(id(relay), None, self.now);
                self.fanouts[it].release(id(relay));
                self.drain(it);
            }
        }
        let served = |it: &&usize| self.grafts[**it].parent().is_some();
        let at_once = orphans.iter().filter(served).count();
        (orphans.len(), at_once)
    }

    fn path(&self, city: usize) -> Vec<usize> {
        let mut path = vec![city];
        let mut at = city;
        while at != self.source {
            let Some(parent) = self.grafts[at].parent() else {
                return Vec::new();
            };
            at = place(parent);
            path.push(at);
            assert!(path.len() <= self.grafts.len(), "there are no loops");
        }
        path.reverse();
        path
    }

    fn deliver(&mut self) {
        while let Some((from, to, offer)) = self.messages.pop_front() {
            self.grafts[to].handle_offer(id(from), offer, self.now);
            self.drain(to);
        }
    }

    /// Carries out what a node has decided; a parent without room makes it decide again.
    fn drain(&mut self, node: usize) {
        let me = id(node);
        while let Some(change) = self.grafts[node].poll_change() {
            let mut touched = Vec::new();
            if let Some(to) = change.to {
                if self.fanouts[place(to)].admit(me) {
                    touched.push(place(to));
                } else {
                    self.grafts[node].handle_refusal(to, self.now);
                }
            }
            if let Some(from) = change.from {
                self.fanouts[place(from)].release(me);
                touched.push(place(from));
            }
            touched.retain(|it| !self.dead.contains(it));
            for parent in touched {
                let room = self.fanouts[parent].has_room();
                self.grafts[parent].handle_room(room, self.now);
                self.tell(parent);
            }
        }
        self.tell(node);
    }

    fn tell(&mut self, node: usize) {
        while let Some(offer) = self.grafts[node].poll_offer() {
            let neighbours = self.links[node].keys();
            self.messages
                .extend(neighbours.map(|it| (node, *it, offer)));
        }
    }
}

/// Everybody links with those nearby and some others; a broadcast's edges also with its source.
fn links(world: &World, source: usize) -> Vec<BTreeMap<usize, Price>> {
    let count = world.len();
    let mut links = vec![BTreeMap::new(); count];
    for a in 0..count {
        let mut others: Vec<usize> = (0..count).filter(|it| *it != a).collect();
        others.sort_by(|b, c| world.round_trip(a, *b).total_cmp(&world.round_trip(a, *c)));
        let drawn = |it: usize| others[place_of(mix((a * ANYWHERE + it) as u64), others.len())];
        let anywhere: Vec<usize> = (0..ANYWHERE).map(drawn).collect();
        let near = others.iter().copied().take(NEAR);
        for b in near.chain(anywhere).chain([source]).filter(|it| *it != a) {
            let measure = LinkMeasure {
                round_trip: Duration::from_secs_f64(world.round_trip(a, b) / 1e3),
                jitter: Duration::ZERO,
                loss: 0.0,
                load: 0.0,
            };
            links[a].insert(b, measure.price());
            links[b].insert(a, measure.price());
        }
    }
    links
}

/// Cities are nodes from 1 on: no node is zero.
fn id(city: usize) -> NodeId {
    NodeId(city as u64 + 1)
}

fn place(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("made from a place")
}

fn place_of(number: u64, count: usize) -> usize {
    usize::try_from(number % count as u64).expect("below a usize")
}

/// Splitmix64: the same everywhere, for every run.
const fn mix(seed: u64) -> u64 {
    let a = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}
