//! Decides which neighbour an edge pulls a broadcast from: a tree over priced links, grown by each
//! edge alone.
//!
//! Every edge tells its neighbours what the broadcast costs from it ([`Offer`]), and pulls it from
//! the neighbour where that and the link between cost the least. There is no center to ask and
//! nothing to agree on; when a neighbour dies, the next best one is known already.
//!
//! **Invariant:** there are no loops, not even while prices change and messages are on their way.
//! An edge takes a neighbour only if that one's offer is below everything the edge itself has
//! offered since the source last raised its sequence (`feasible` in [`Graft`]); so whoever is fed
//! by the edge can never be taken. The source itself is always feasible.
//!
//! How offers travel, and that a new parent delivers before the old one is dropped, is elsewhere.

mod graft;
mod load;
mod price;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use model::NodeId;

pub use self::graft::{Change, Graft, Why};
pub use self::load::Load;
pub use self::price::{LinkMeasure, Price, Pricer};

/// Nodes between source and edge at most. One relay has most of the gain; two more let a tree grow
/// where fan-out is bounded.
pub const RELAYS_MAX: u8 = 3;

/// What a broadcast costs from a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The source's own number, which orders offers of different age.
    pub sequence: u32,
    /// From the source to the neighbour.
    pub price: Price,
    /// Nodes between the source and the neighbour.
    pub relays: u8,
    /// Whether the neighbour receives the broadcast already: to pull it from there costs the links
    /// behind it nothing.
    pub carries: bool,
    /// Whether the neighbour has room for one more.
    pub room: bool,
}

/// Who pulls a broadcast from this node, within its bound.
#[derive(Clone, Debug)]
pub struct Fanout {
    max: usize,
    children: BTreeSet<NodeId>,
}

impl Fanout {
    /// At most so many children.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            children: BTreeSet::new(),
        }
    }

    /// Takes a child in, or refuses it. Who is in stays in.
    pub fn admit(&mut self, child: NodeId) -> bool {
        if self.children.contains(&child) {
            return true;
        }
        let room = self.has_room();
        if room {
            self.children.insert(child);
        }
        room
    }

    /// Lets a child go.
    pub fn release(&mut self, child: NodeId) {
        self.children.remove(&child);
    }

    /// Whether one more would be taken in.
    pub fn has_room(&self) -> bool {
        self.children.len() < self.max
    }

    /// How many are in.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }
}
