//! The emulated network: for each site a door for every place, as far away as the place is.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use anyhow::Context as _;
use api::node::Endpoint;
use api::place::Place;
use lab::wan::{self, Link, Proxy, Wan};
use model::AccessNetwork;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::sites::Site;

/// Descriptors of a proxy that nobody uses: a socket for UDP, one for TCP.
const DESCRIPTORS_PER_DOOR: u64 = 2;

/// Descriptors for everything else: flows and connections of terminals, children.
const DESCRIPTORS_SPARE: u64 = 2_048;

/// How often a port that is free for UDP and TCP is looked for.
const PORT_TRIES: usize = 32;

/// The doors of one site.
#[derive(Debug)]
pub(super) struct Doors(Vec<Door>);

#[derive(Debug)]
struct Door {
    network: AccessNetwork,
    proxy: Proxy,
}

impl Doors {
    /// A site that everyone reaches directly.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Opens a door for every place. They lead nowhere until [`Doors::lead_to`].
    pub(super) fn open(
        wan: &Wan,
        ip: IpAddr,
        site: &Site,
        places: &[Place],
    ) -> anyhow::Result<Self> {
        let doors = places.iter().map(|place| {
            let link = Link::from_round_trip(wan::round_trip(place.position, site.position));
            let proxy = wan.proxy(SocketAddr::new(ip, 0), None, link)?;
            Ok(Door {
                network: place.network.clone(),
                proxy,
            })
        });
        let doors: Result<_, wan::WanError> = doors.collect();
        Ok(Self(doors.context("open the emulated network")?))
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The edge listens there now.
    pub(super) fn lead_to(&self, target: SocketAddr) {
        for door in &self.0 {
            door.proxy.set_target(Some(target));
        }
    }

    /// Where the edge at `listen` is reached: through the doors, and directly by those who are in
    /// none of the places.
    pub(super) fn endpoints(&self, listen: SocketAddr) -> Vec<Endpoint> {
        let through = self.0.iter().map(|door| Endpoint {
            network: Some(door.network.clone()),
            address: door.proxy.address().to_string(),
        });
        let directly = Endpoint {
            network: None,
            address: listen.to_string(),
        };
        through.chain([directly]).collect()
    }
}

/// Asks the system for enough descriptors; many grant only 1,024 unless asked.
pub(super) fn make_room(doors: usize) {
    let wanted = doors as u64 * DESCRIPTORS_PER_DOOR + DESCRIPTORS_SPARE;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|it| it >= wanted) {
        return;
    }
    let current = Some(now.maximum.map_or(wanted, |it| it.min(wanted)));
    let granted = setrlimit(
        Resource::Nofile,
        Rlimit {
            current,
            maximum: now.maximum,
        },
    );
    if let Err(error) = granted {
        tracing::warn!(%error, "the system grants few descriptors");
    }
}

/// A port that is free now, for UDP and TCP. `wished` if that one is.
pub(super) fn free_port(ip: IpAddr, wished: Option<u16>) -> anyhow::Result<u16> {
    let free = |port| {
        let udp = UdpSocket::bind((ip, port))?;
        let port = udp.local_addr()?.port();
        TcpListener::bind((ip, port)).map(|_| port)
    };
    if let Some(port) = wished
        && free(port).is_ok()
    {
        return Ok(port);
    }
    let mut tried = free(0);
    for _ in 1..PORT_TRIES {
        if tried.is_ok() {
            break;
        }
        tried = free(0);
    }
    tried.with_context(|| format!("find a free port on {ip}"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::dev::sites;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn every_place_has_its_own_door_and_the_rest_come_directly() {
        let sites = sites::read(None).unwrap();
        let places = sites::places(&sites);
        let wan = Wan::start(1).unwrap();
        let doors = Doors::open(&wan, LOCAL, &sites[1], &places).unwrap();
        assert_eq!(doors.len(), places.len());
        let edge: SocketAddr = (LOCAL, 9).into();
        let endpoints = doors.endpoints(edge);
        let berlin = "dev:berlin".parse().unwrap();
        let address = Endpoint::choose(&endpoints, Some(&berlin)).unwrap();
        assert_ne!(address, edge.to_string());
        let elsewhere = "26201".parse().unwrap();
        let direct = Endpoint::choose(&endpoints, Some(&elsewhere)).unwrap();
        assert_eq!(direct, edge.to_string());
    }

    #[test]
    fn a_port_that_is_taken_is_not_insisted_on() {
        let port = free_port(LOCAL, None).unwrap();
        let again = free_port(LOCAL, Some(port)).unwrap();
        assert_eq!(again, port);
        let _taken = TcpListener::bind((LOCAL, port)).unwrap();
        assert_ne!(free_port(LOCAL, Some(port)).unwrap(), port);
    }
}
