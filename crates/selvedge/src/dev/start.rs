//! Bringing the cloud up, step by step, and down again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use api::app::DeployApp;
use api::client::Client;
use api::node::{NodeStatus, NodeView};
use api::place::Place;
use lab::wan::Wan;
use model::manifest::Kind;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::DevArgs;
use super::apps::{self, Demo};
use super::event;
use super::keeper::{Event, Keeper, Restart, Stop};
use super::network::{self, Doors};
use super::report::{Pids, Ready, ReadyApp, ReadySite, Reporter};
use super::role::{CenterRole, EdgeRole, Home, Role};
use super::scratch::Scratch;
use super::sites::{self, Site};
use crate::current::{self, Announced};
use crate::exit::{Ending, Told};
use crate::service::{self, CenterReady, EdgeReady};

/// Events of children that wait to be told. A child has at most a few a second.
const EVENTS_MAX: usize = 64;

/// How long children may take to start. Each has a limit of its own, which says more.
const START_WAIT: Duration = Duration::from_secs(30);

/// How long the center may take to know that all nodes are ready, and that they have the apps.
const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// How often it is asked.
const SETTLE_TICK: Duration = Duration::from_millis(50);

/// Which packets are lost and how much they jitter is the same each time.
const WAN_SEED: u64 = 1;

/// A small cloud on this machine.
#[derive(Debug)]
pub(super) struct Cloud {
    args: DevArgs,
    reporter: Reporter,
    begun: Instant,
    sites: Vec<Site>,
    places: Vec<Place>,
    events_tx: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    stop: Stop,
    keepers: TaskTracker,
    /// Held for as long as there are doors.
    _wan: Option<Wan>,
    /// One for each site, until its edge is started.
    doors: Vec<Doors>,
    /// Last: it is removed when everything else has ended.
    scratch: Scratch,
}

/// A child that is ready.
struct Up {
    pid: u32,
    line: String,
}

impl Cloud {
    /// Reads what there is to read and opens the emulated network. Starts no child yet.
    pub(super) async fn new(args: DevArgs, reporter: Reporter) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let ip = sites::reachable(args.listen)?;
        let sites = sites::read(args.sites.as_deref())?;
        let places = sites::places(&sites);
        let scratch = Scratch::open(args.data_dir.as_deref()).await?;
        reporter.heading(&format!("Selvedge {}", env!("CARGO_PKG_VERSION")));
        let (wan, doors) = if args.no_emulation {
            (None, sites.iter().map(|_| Doors::none()).collect())
        } else {
            network::make_room(sites.len() * places.len());
            let wan = Wan::start(WAN_SEED).context("start the emulated network")?;
            let doors: Vec<Doors> = sites
                .iter()
                .map(|site| Doors::open(&wan, ip, site, &places))
                .collect::<anyhow::Result<_>>()?;
            let links: usize = doors.iter().map(Doors::len).sum();
            let detail = format!("{links} emulated links between {} places", places.len());
            reporter.step("network", &detail);
            (Some(wan), doors)
        };
        let (events_tx, events) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            args,
            reporter,
            begun,
            sites,
            places,
            events_tx,
            events,
            stop: Stop::default(),
            keepers: TaskTracker::new(),
            _wan: wan,
            doors,
            scratch,
        })
    }

    /// Starts everything and says so. What is returned lets the command line find us.
    pub(super) async fn start(&mut self) -> anyhow::Result<Option<Announced>> {
        let (center, center_ready) = self.start_center().await?;
        let home = Home::new(self.scratch.path(), "center", None);
        let token = service::admin_token(&home.data_dir())?;
        let client = Client::new(&center_ready.http, Some(token.clone()))?;
        let sites = self.start_edges(&center_ready, &client).await?;
        let nodes = self.nodes_ready(&client).await?;
        let apps = self.deploy(&client, &center_ready.http).await?;
        let ready = Ready {
            console: format!("{}/#token={token}", center_ready.http),
            pids: Pids {
                dev: std::process::id(),
                center: center.pid,
                edges: sites.iter().map(|it| it.pid).collect(),
            },
            sites,
            apps,
            data_dir: self.scratch.path().display().to_string(),
            warnings: lacks(&nodes),
            center: center_ready.http,
            token,
        };
        for warning in &ready.warnings {
            self.reporter.warning(warning);
        }
        let announced = current::announce(ready.center.clone(), ready.token.clone());
        if let Err(error) = &announced {
            self.reporter.warning(&format!(
                "the command line will not find this cloud by itself: {error}"
            ));
        }
        self.reporter
            .ready(&ready, self.begun.elapsed(), self.scratch.is_thrown_away())?;
        let event = ready.apps.iter().find(|it| it.name == event::NAME);
        if !self.args.no_event && event.is_some_and(|it| it.deployed) {
            let stop = self.stop.gently.clone();
            self.keepers.spawn(event::run(self.reporter, client, stop));
        }
        Ok(announced.ok())
    }

    /// What happens next to a child.
    pub(super) async fn next_event(&mut self) -> Event {
        let event = self.events.recv().await;
        event.expect("we hold a sender ourselves")
    }

    /// Stops all children in good order. True when none had to be killed by us.
    pub(super) async fn stop(&self) -> bool {
        self.stop.gently.cancel();
        self.keepers.close();
        self.keepers.wait().await;
        true
    }

    /// Kills what still runs.
    pub(super) async fn kill(&self) {
        self.stop.gently.cancel();
        self.stop.now.cancel();
        self.keepers.close();
        self.keepers.wait().await;
    }

    async fn start_center(&mut self) -> anyhow::Result<(Up, CenterReady)> {
        let role = Role::Center(Box::new(CenterRole {
            home: self.home("center"),
            listen: self.args.listen,
            places: self.places.clone(),
        }));
        self.keep(role);
        let up = self.all_up(1).await?.remove("center");
        let up = up.context("the center did not say its name")?;
        let ready: CenterReady = service::parse_ready(&up.line)?;
        self.reporter.step("center", &ready.http);
        Ok((up, ready))
    }

    async fn start_edges(
        &mut self,
        center: &CenterReady,
        client: &Client,
    ) -> anyhow::Result<Vec<ReadySite>> {
        let doors = std::mem::take(&mut self.doors);
        for (site, doors) in self.sites.clone().into_iter().zip(doors) {
            let role = Role::Edge(Box::new(EdgeRole {
                home: self.home(&Home::edge_name(&site)),
                site,
                ip: self.args.listen.ip(),
                port: None,
                doors,
                center: center.link,
                client: client.clone(),
            }));
            self.keep(role);
        }
        let mut up = self.all_up(self.sites.len()).await?;
        let mut ready = Vec::new();
        for site in &self.sites {
            let up = up.remove(&Home::edge_name(site));
            let up = up.with_context(|| format!("{} did not say its name", site.title))?;
            let edge: EdgeReady = service::parse_ready(&up.line)?;
            let detail = format!("edge {} at {}", edge.node, edge.address);
            self.reporter.step(&site.title, &detail);
            ready.push(ReadySite {
                name: site.name.to_string(),
                title: site.title.clone(),
                node: edge.node.to_string(),
                pid: up.pid,
                address: edge.address.to_string(),
            });
        }
        Ok(ready)
    }

    /// Waits until the center knows all nodes as ready: before that no session finds a place.
    async fn nodes_ready(&self, client: &Client) -> anyhow::Result<Vec<NodeView>> {
        let deadline = Instant::now() + SETTLE_WAIT;
        loop {
            let nodes = client.nodes().await?.items;
            let ready = |it: &&NodeView| it.status == NodeStatus::Ready;
            if nodes.iter().filter(ready).count() >= self.sites.len() {
                return Ok(nodes);
            }
            if Instant::now() >= deadline {
                let told = Told::new(Ending::Failed, "the center does not see all edges");
                return Err(told.hint(self.where_logs_are()).into());
            }
            tokio::time::sleep(SETTLE_TICK).await;
        }
    }

    /// Deploys the demo apps that this machine can run, and waits until the nodes offer them.
    async fn deploy(&self, client: &Client, center: &str) -> anyhow::Result<Vec<ReadyApp>> {
        let mut apps = Vec::new();
        for demo in apps::all() {
            let name = demo.manifest.name().to_string();
            let mut app = ReadyApp {
                title: demo.manifest.title().to_owned(),
                deployed: false,
                play: None,
                why: None,
                install: None,
                name: name.clone(),
            };
            if let Some(lack) = demo.lack() {
                let install = lack.install.as_ref().map(|it| format!(": {it}"));
                let detail = format!("{}{}", lack.why, install.unwrap_or_default());
                self.reporter.absent(&name, &detail);
                apps.push(app.lacking(lack));
                continue;
            }
            publish(client, &demo).await?;
            app.deployed = true;
            let page = match demo.manifest.kind() {
                Kind::Stream => "play",
                Kind::Live => "watch",
            };
            app.play = Some(format!("{center}/{page}/{name}"));
            self.reporter.step(&name, &app.title);
            apps.push(app);
        }
        let deployed = apps.iter().filter(|it| it.deployed).count();
        let deadline = Instant::now() + SETTLE_WAIT;
        while Instant::now() < deadline {
            let offered = client.apps().await?.items;
            let everywhere = offered
                .iter()
                .filter(|it| it.sites.len() >= self.sites.len());
            if everywhere.count() >= deployed {
                return Ok(apps);
            }
            tokio::time::sleep(SETTLE_TICK).await;
        }
        self.reporter
            .warning("not every site offers every app yet; `selvedge app list` tells");
        Ok(apps)
    }

    /// Starts a child and keeps it running.
    fn keep(&self, role: Role) {
        let keeper = Keeper {
            role,
            restart: if self.args.no_restart {
                Restart::Never
            } else {
                Restart::Always
            },
            events: self.events_tx.clone(),
            stop: self.stop.clone(),
        };
        self.keepers.spawn(keeper.run());
    }

    /// Waits until so many children are ready. One that dies on the way ends it all: at the start
    /// it would only die again.
    async fn all_up(&mut self, count: usize) -> anyhow::Result<BTreeMap<String, Up>> {
        let deadline = tokio::time::Instant::now() + START_WAIT;
        let mut up = BTreeMap::new();
        while up.len() < count {
            let event = tokio::time::timeout_at(deadline, self.next_event()).await;
            match event.context("the children did not start in time")? {
                Event::Ready {
                    name, pid, line, ..
                } => {
                    up.insert(name, Up { pid, line });
                }
                Event::Exited { name, why, log, .. } => {
                    let quoted: Vec<String> = log.lines().map(|it| format!("  | {it}")).collect();
                    let message = format!("{name} did not start: {why}\n{}", quoted.join("\n"));
                    return Err(Told::new(Ending::Failed, message.trim_end()).into());
                }
            }
        }
        Ok(up)
    }

    fn home(&self, name: &str) -> Home {
        Home::new(self.scratch.path(), name, self.args.log.clone())
    }

    fn where_logs_are(&self) -> String {
        if self.scratch.is_thrown_away() {
            "start again with --data-dir to keep the logs".to_owned()
        } else {
            format!("the logs are in {}/log", self.scratch.path().display())
        }
    }
}

/// A release that is there already stays as it is: sessions of a kept directory go on.
async fn publish(client: &Client, demo: &Demo) -> anyhow::Result<()> {
    let name = demo.manifest.name();
    let present = client.app(name).await.ok();
    if present.is_some_and(|it| it.release.manifest == demo.manifest) {
        return Ok(());
    }
    let manifest = demo.text.to_owned();
    let deployed = client.deploy(&DeployApp { manifest }).await;
    deployed.with_context(|| format!("deploy {name}"))?;
    Ok(())
}

/// What the nodes cannot do, once each: they are all on this machine.
fn lacks(nodes: &[NodeView]) -> Vec<String> {
    let mut lacks: Vec<String> = nodes.iter().flat_map(|it| it.lacks.clone()).collect();
    lacks.sort();
    lacks.dedup();
    lacks
}
