//! One edge's place in one broadcast's tree.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::NodeId;

use super::{Offer, Price, RELAYS_MAX};

/// What a relay adds: its queue and its work, above what the links cost.
const RELAY: Price = Price::millis(2);

/// A neighbour that carries the broadcast already is worth a detour of this share of the best way,
/// in percent ...
const SHARED_PERCENT: u64 = 10;

/// ... and of so much.
const SHARED: Price = Price::millis(5);

/// A better parent must be better for so long. A dead one is left at once.
const BETTER_FOR: Duration = Duration::from_secs(1);

/// Who had no room is not asked again for so long.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// How often a source raises its sequence: the longest that an edge may have to keep to what it
/// has offered before.
const SEQUENCE_EVERY: Duration = Duration::from_secs(1);

/// Neighbours that are considered. A node with more links has no use for more: of those beyond,
/// the ones that come last are not heard.
const NEIGHBOURS_MAX: usize = 512;

/// An edge goes to another parent: the new one delivers before the old one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Pulled from until now.
    pub from: Option<NodeId>,
    /// To be pulled from; `None` when nobody is left.
    pub to: Option<NodeId>,
    /// Why.
    pub why: Why,
}

/// Why an edge goes to another parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It had none.
    Joined,
    /// The link to the old one is dead, or it has nothing to give any more.
    Lost,
    /// The old one had no room.
    Refused,
    /// The new one has been clearly better for a while.
    Better,
    /// Nobody needs the broadcast here any more.
    Unwanted,
}

#[derive(Clone, Copy, Debug, Default)]
struct Neighbour {
    /// `None` while the link is dead.
    link: Option<Price>,
    offer: Option<Offer>,
    refused_until: Option<Instant>,
}

/// Decides for one edge and one broadcast. After each `handle_*`, ask every `poll_*`.
#[derive(Debug)]
pub struct Graft {
    me: NodeId,
    source: NodeId,
    /// Invariant: at most `NEIGHBOURS_MAX`.
    neighbours: BTreeMap<NodeId, Neighbour>,
    parent: Option<NodeId>,
    /// The parent that was told.
    told: Option<NodeId>,
    why: Why,
    /// A parent that would be clearly better, and since when.
    better: Option<(NodeId, Instant)>,
    /// The least that was offered, by the sequence it was offered in.
    feasible: Option<(u32, Price)>,
    /// What neighbours were told.
    offered: Option<Offer>,
    room: bool,
    demand: bool,
    /// A source's own number and when it was raised.
    sequence: (u32, Instant),
    now: Instant,
}

impl Graft {
    /// An edge without neighbours. If it is the source itself it has the broadcast; `sequence` must
    /// then be above any it had before, as the time in seconds is.
    pub const fn new(me: NodeId, source: NodeId, sequence: u32, now: Instant) -> Self {
        Self {
            me,
            source,
            neighbours: BTreeMap::new(),
            parent: None,
            told: None,
            why: Why::Joined,
            better: None,
            feasible: None,
            offered: None,
            room: true,
            demand: false,
            sequence: (sequence, now),
            now,
        }
    }

    /// Takes in what the link to a neighbour costs; `None` when it is dead.
    pub fn handle_link(&mut self, neighbour: NodeId, price: Option<Price>, now: Instant) {
        self.now = self.now.max(now);
        if let Some(known) = self.neighbour(neighbour) {
            known.link = price;
            if price.is_none() {
                // What it offered was before.
                known.offer = None;
            }
        }
        self.decide(Why::Lost);
    }

    /// Takes in what a neighbour offers; `None` when it has nothing to give.
    pub fn handle_offer(&mut self, neighbour: NodeId, offer: Option<Offer>, now: Instant) {
        self.now = self.now.max(now);
        if let Some(known) = self.neighbour(neighbour) {
            known.offer = offer;
        }
        self.decide(Why::Lost);
    }

    /// Takes in that a neighbour has no room for us.
    pub fn handle_refusal(&mut self, neighbour: NodeId, now: Instant) {
        self.now = self.now.max(now);
        let until = self.now + REFUSED_FOR;
        if let Some(known) = self.neighbour(neighbour) {
            known.refused_until = Some(until);
        }
        self.decide(Why::Refused);
    }

    /// Takes in whether this node has room for one more child.
    pub fn handle_room(&mut self, room: bool, now: Instant) {
        self.now = self.now.max(now);
        self.room = room;
        self.decide(Why::Lost);
    }

    /// Takes in whether somebody needs the broadcast here: a viewer, or a child. Without, this edge
    /// pulls it from nobody, and offers all the same what it would cost.
    pub fn handle_demand(&mut self, demand: bool, now: Instant) {
        self.now = self.now.max(now);
        self.demand = demand;
        self.decide(Why::Lost);
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.is_source() {
            while self.now >= self.sequence.1 + SEQUENCE_EVERY {
                self.sequence = (
                    self.sequence.0.wrapping_add(1),
                    self.sequence.1 + SEQUENCE_EVERY,
                );
            }
        }
        self.decide(Why::Lost);
    }

    /// Another parent, if there is one.
    pub fn poll_change(&mut self) -> Option<Change> {
        let to = self.parent.filter(|_| self.demand);
        if self.told == to {
            return None;
        }
        let from = std::mem::replace(&mut self.told, to);
        let why = match from {
            None => Why::Joined,
            Some(_) if self.demand => self.why,
            Some(_) => Why::Unwanted,
        };
        Some(Change { from, to, why })
    }

    /// What every neighbour should be told, if that has changed; `Some(None)` when there is nothing
    /// to give any more. **To be sent in this order**: what is offered binds this edge.
    pub fn poll_offer(&mut self) -> Option<Option<Offer>> {
        let offer = self.offer();
        if offer == self.offered {
            return None;
        }
        self.offered = offer;
        if let Some(offer) = offer {
            let bound = (offer.sequence, offer.price);
            self.feasible = Some(match self.feasible {
                Some((sequence, price)) if !newer(offer.sequence, sequence) => {
                    (sequence, price.min(offer.price))
                }
                _ => bound,
            });
        }
        Some(offer)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sequence = self.is_source().then(|| self.sequence.1 + SEQUENCE_EVERY);
        let better = self.better.map(|it| it.1 + BETTER_FOR);
        let refused = self.neighbours.values().filter_map(|it| it.refused_until);
        let refused = refused.filter(|it| *it > self.now).min();
        [sequence, better, refused].into_iter().flatten().min()
    }

    /// What neighbours were told last: tell it to a new one.
    pub const fn offered(&self) -> Option<Offer> {
        self.offered
    }

    /// Who is pulled from, or would be if somebody needed the broadcast.
    pub const fn parent(&self) -> Option<NodeId> {
        self.parent
    }

    /// What the broadcast costs here; `None` while it cannot be had.
    pub fn price(&self) -> Option<Price> {
        if self.is_source() {
            return Some(Price::FREE);
        }
        self.way(self.parent?).map(|it| it.price)
    }

    fn is_source(&self) -> bool {
        self.me == self.source
    }

    fn neighbour(&mut self, id: NodeId) -> Option<&mut Neighbour> {
        let known = self.neighbours.contains_key(&id);
        if id == self.me || (!known && self.neighbours.len() == NEIGHBOURS_MAX) {
            return None;
        }
        Some(self.neighbours.entry(id).or_default())
    }

    fn decide(&mut self, why: Why) {
        if self.is_source() {
            return;
        }
        let best = self.best();
        let present = self.parent.filter(|it| self.stays(*it));
        let Some(present) = present else {
            (self.parent, self.why, self.better) = (best, why, None);
            return;
        };
        let better = best.filter(|it| *it != present && self.is_better(*it, present));
        let Some(better) = better else {
            self.better = None;
            return;
        };
        let since = match self.better {
            // Any better one will do: it is the parent that has been worse for so long.
            Some((_, since)) => since,
            None => self.now,
        };
        if self.now >= since + BETTER_FOR {
            (self.parent, self.why, self.better) = (Some(better), Why::Better, None);
        } else {
            self.better = Some((better, since));
        }
    }

    /// A parent stays as long as it gives: whatever its price is now, it is not fed by us.
    fn stays(&self, parent: NodeId) -> bool {
        let refused = self.neighbours.get(&parent).and_then(|it| it.refused_until);
        refused.is_none_or(|it| it <= self.now)
            && self.way(parent).is_some_and(|it| it.relays <= RELAYS_MAX)
    }

    /// The neighbour to pull from, if there were no parent yet.
    fn best(&self) -> Option<NodeId> {
        let candidates: Vec<(NodeId, Way)> = self
            .neighbours
            .keys()
            .filter_map(|it| Some((*it, self.candidate(*it)?)))
            .collect();
        let cheapest = candidates.iter().map(|it| it.1.price).min()?;
        let limit = worth_sharing(cheapest);
        // Where it is carried already and the detour is small, the nearest one; else the cheapest.
        let shared = candidates
            .iter()
            .filter(|it| it.1.carries && it.1.price <= limit);
        let shared = shared.min_by_key(|it| (it.1.link, it.1.price, it.0));
        let best = shared.or_else(|| candidates.iter().min_by_key(|it| (it.1.price, it.0)));
        best.map(|it| it.0)
    }

    fn is_better(&self, other: NodeId, present: NodeId) -> bool {
        let (Some(other), Some(present)) = (self.way(other), self.way(present)) else {
            return false;
        };
        let nearer = other.link.clearly_below(present.link) && other.carries;
        other.price.clearly_below(present.price)
            || (nearer && other.price <= worth_sharing(present.price))
    }

    /// The way by a neighbour that may be taken as a parent.
    fn candidate(&self, neighbour: NodeId) -> Option<Way> {
        let known = self.neighbours.get(&neighbour)?;
        let offer = known.offer?;
        let way = self.way(neighbour)?;
        let refused = known.refused_until.is_some_and(|it| it > self.now);
        let room = offer.room || self.parent == Some(neighbour);
        let allowed = room && !refused && way.relays <= RELAYS_MAX && self.is_feasible(&offer);
        allowed.then_some(way)
    }

    fn is_feasible(&self, offer: &Offer) -> bool {
        self.feasible.is_none_or(|(sequence, price)| {
            newer(offer.sequence, sequence) || (offer.sequence == sequence && offer.price < price)
        })
    }

    fn way(&self, neighbour: NodeId) -> Option<Way> {
        let known = self.neighbours.get(&neighbour)?;
        let (link, offer) = (known.link?, known.offer?);
        let (relay, relays) = if neighbour == self.source {
            (Price::FREE, 0)
        } else {
            (RELAY, offer.relays.saturating_add(1))
        };
        Some(Way {
            link,
            price: link + offer.price + relay,
            relays,
            sequence: offer.sequence,
            carries: offer.carries,
        })
    }

    fn offer(&self) -> Option<Offer> {
        if self.is_source() {
            return Some(Offer {
                sequence: self.sequence.0,
                price: Price::FREE,
                relays: 0,
                carries: true,
                room: self.room,
            });
        }
        let way = self.way(self.parent?)?;
        Some(Offer {
            sequence: way.sequence,
            price: way.price,
            relays: way.relays,
            carries: self.demand,
            room: self.room,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Way {
    link: Price,
    price: Price,
    /// Nodes between the source and us.
    relays: u8,
    sequence: u32,
    carries: bool,
}

fn worth_sharing(price: Price) -> Price {
    price + SHARED.max(Price::micros(price.as_micros() / 100 * SHARED_PERCENT))
}

/// Sequences go round: the one that is less than half a round ahead is newer.
const fn newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < u32::MAX / 2
}
