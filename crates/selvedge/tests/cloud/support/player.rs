//! A person at a terminal: what `console/js/player` does in a browser, as far as it is about sessions.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::client::{Client, ClientError};
use api::session::{CreateSession, MoveSession, RenewTicket, Renewed, ScreenSize, Ticket};
use api::terminal::{AppState, Status};
use lab::terminal::{Answer, Picture, Sent, Terminal, TerminalError, Transport, WayIn};
use model::manifest::OnMove;
use model::{NodeId, SessionId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cloud::{Cloud, at};
use super::{PATIENCE, soon, until};

/// No answer to pings for this long is a lost connection.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// How often it pings.
const PING_EVERY: Duration = Duration::from_millis(200);

/// A change-over without a picture after this long is given up when there is no old picture.
const CHANGE_MAX: Duration = Duration::from_secs(4);

/// Between two tries to get back.
const RETRY: Duration = Duration::from_millis(250);

/// The probe's window, which a smaller picture still shows whole.
const WINDOW: (usize, usize) = (1280, 720);

/// The probe's backgrounds.
pub(crate) const EVEN: [u8; 3] = [0x20, 0x30, 0x60];
pub(crate) const ODD: [u8; 3] = [0x30, 0xc0, 0x40];

/// One session and the terminal that shows it.
pub(crate) struct Player {
    /// With the session's key.
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    pub(crate) key: String,
    pub(crate) ticket: Ticket,
    pub(crate) terminal: Arc<Terminal>,
    /// When a new picture was shown, over all of its connections.
    pub(crate) shown: Arc<Shown>,
    place: model::Terminal,
    /// Ends the watch of the present connection.
    watched: CancellationToken,
}

impl Player {
    /// Starts a session from a city and waits for its first picture.
    pub(crate) async fn start(cloud: &Cloud, app: &str, city: &str) -> Self {
        Self::start_sized(cloud, app, city, None).await
    }

    pub(crate) async fn start_sized(
        cloud: &Cloud,
        app: &str,
        city: &str,
        screen: Option<ScreenSize>,
    ) -> Self {
        let place = at(city);
        let anybody = Client::new(&cloud.ready.center, None).unwrap();
        let create = CreateSession {
            app: app.parse().unwrap(),
            terminal: place.clone(),
            screen,
        };
        let created = soon("a session", anybody.create_session(&create)).await;
        let created = created.unwrap();
        let client = anybody.with_token(&created.key);
        Self::enter(client, created.key, place, created.ticket).await
    }

    async fn enter(client: Client, key: String, place: model::Terminal, ticket: Ticket) -> Self {
        let way = WayIn::new(&ticket, Transport::Quic).unwrap();
        let terminal = soon("the way in", Terminal::connect(&way)).await.unwrap();
        let mut player = Self {
            client,
            session: ticket.session,
            key,
            ticket,
            terminal: Arc::new(terminal),
            shown: Arc::default(),
            place,
            watched: CancellationToken::new(),
        };
        player.watch();
        player.picture("the first picture", |_| true).await;
        player
    }

    /// Waits for a picture that `wanted` accepts.
    pub(crate) async fn picture(
        &self,
        what: &str,
        wanted: impl FnMut(&Picture) -> bool,
    ) -> Arc<Picture> {
        let found = self.terminal.picture_that(wanted);
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found.unwrap_or_else(|error| panic!("{what}: {error}")),
            Err(_) => panic!("{what}: not seen; {}", self.seen()),
        }
    }

    /// What the terminal has seen so far.
    fn seen(&self) -> String {
        let last = self.terminal.picture();
        let last = last.map(|it| (it.width, it.height, it.input_seq, keys_in(&it), it.captured));
        let next = self.terminal.next_seq();
        let statistics = self.terminal.statistics();
        format!("last picture {last:?}, next event {next:?}, {statistics:#?}")
    }

    /// Presses and releases a key, and waits for the picture that the app made knowing it.
    pub(crate) async fn press(&self, code: &str) -> Answer {
        let down = self.terminal.key(code, true).unwrap();
        // Releasing it changes nothing to be seen.
        self.terminal.key(code, false).unwrap();
        self.answer(down).await
    }

    /// Waits for the picture that the app made knowing an event.
    async fn answer(&self, sent: Sent) -> Answer {
        let seq = sent.seq;
        match tokio::time::timeout(PATIENCE, sent.answered()).await {
            Ok(answer) => answer.unwrap(),
            Err(_) => panic!("no answer to {seq:?}; {}", self.seen()),
        }
    }

    /// Waits until the probe has counted so many keys.
    pub(crate) async fn counted(&self, keys: u32) {
        let what = format!("{keys} keys counted");
        let colour = if keys.is_multiple_of(2) { EVEN } else { ODD };
        // A screen without a window counts nothing either.
        self.picture(&what, |it| keys_in(it) == keys && background(it, colour))
            .await;
    }

    /// Waits until so many more pictures were shown.
    pub(crate) async fn shows_more(&self, pictures: usize) {
        let wanted = self.shown.count() + pictures;
        until("more pictures", async || {
            (self.shown.count() >= wanted).then_some(())
        })
        .await;
    }

    /// How the app is, by what the terminal was told last.
    pub(crate) async fn app_state(&self) -> (AppState, Option<String>) {
        let state = self.terminal.status_that(|it| match it {
            Status::App { state, why } => Some((*state, why.clone())),
            _ => None,
        });
        soon("a state", state).await.unwrap()
    }

    /// Says that this person is in another city now, and follows without losing the picture.
    pub(crate) async fn move_to(&mut self, city: &str, mode: Option<OnMove>) -> Renewed {
        self.place = at(city);
        let to = MoveSession {
            terminal: Some(self.place.clone()),
            site: None,
            mode,
        };
        let moved = self.client.move_session(self.session, &to).await.unwrap();
        soon("the change", self.change_over(moved.ticket.clone()))
            .await
            .unwrap();
        moved
    }

    /// Opens the new way beside the old one and swaps when its picture is there.
    pub(crate) async fn change_over(&mut self, ticket: Ticket) -> Result<(), TerminalError> {
        let way = WayIn::new(&ticket, Transport::Quic)?;
        self.ticket = ticket;
        self.change_way(way).await
    }

    /// The same by another address.
    pub(crate) async fn go_through(&mut self, address: SocketAddr) -> Result<(), TerminalError> {
        let mut way = WayIn::new(&self.ticket, Transport::Quic)?;
        way.address = address.to_string();
        self.change_way(way).await
    }

    async fn change_way(&mut self, mut way: WayIn) -> Result<(), TerminalError> {
        way.first_seq = self.terminal.next_seq();
        let next = Terminal::connect(&way).await?;
        next.picture_that(|_| true).await?;
        self.watched.cancel();
        self.terminal = Arc::new(next);
        self.watch();
        Ok(())
    }

    /// Waits until the session does not answer any more.
    pub(crate) async fn lost(&self) {
        let silent = async {
            let mut tick = tokio::time::interval(PING_EVERY);
            loop {
                tick.tick().await;
                let pong = tokio::time::timeout(SILENCE_MAX, self.terminal.ping()).await;
                if !matches!(pong, Ok(Ok(_))) {
                    return;
                }
            }
        };
        soon("silence", silent).await;
    }

    /// Looks for the way back until there is a picture again.
    pub(crate) async fn recover(&mut self) -> Renewed {
        let mut lost = self.ticket.entry.node;
        let found = async {
            loop {
                match self.renew(Some(lost)).await {
                    Ok(renewed) => {
                        let entry = renewed.ticket.entry.node;
                        let changing = self.change_over(renewed.ticket.clone());
                        let changed = tokio::time::timeout(CHANGE_MAX, changing).await;
                        match changed {
                            Ok(Ok(())) => return renewed,
                            other => println!("not by {entry}: {other:?}"),
                        }
                        lost = entry;
                    }
                    Err(error) => println!("no ticket: {error}"),
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        soon("the way back", found).await
    }

    /// Asks for a new ticket.
    pub(crate) async fn renew(&self, lost_entry: Option<NodeId>) -> Result<Renewed, ClientError> {
        let renew = RenewTicket {
            terminal: self.place.clone(),
            lost_entry,
        };
        self.client.renew(self.session, &renew).await
    }

    /// Closes the page: the app waits.
    pub(crate) fn leave(self) -> Away {
        Away {
            client: self.client.clone(),
            session: self.session,
            key: self.key.clone(),
            place: self.place.clone(),
        }
    }

    fn watch(&mut self) {
        self.watched = CancellationToken::new();
        let (terminal, shown) = (Arc::clone(&self.terminal), Arc::clone(&self.shown));
        let stop = self.watched.clone();
        TaskTracker::new().spawn(async move {
            let mut last = None;
            let watching = async {
                while let Ok(picture) = terminal.picture_that(|it| Some(it.captured) != last).await
                {
                    last = Some(picture.captured);
                    shown.note();
                }
            };
            tokio::select! {
                () = watching => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.watched.cancel();
    }
}

/// Somebody who closed the page, and kept the key.
pub(crate) struct Away {
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    key: String,
    place: model::Terminal,
}

impl Away {
    /// Opens the page again, and waits for a picture.
    pub(crate) async fn back(self) -> Player {
        let renew = RenewTicket {
            terminal: self.place.clone(),
            lost_entry: None,
        };
        let renewed = self.client.renew(self.session, &renew).await.unwrap();
        Player::enter(self.client, self.key, self.place, renewed.ticket).await
    }
}

/// When pictures were shown.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<Vec<Instant>>);

impl Shown {
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The longest time without a new picture since then, up to the last one.
    pub(crate) fn longest_gap(&self, since: Instant) -> Duration {
        let times = self.lock();
        let gaps = times.windows(2).filter(|pair| pair[1] > since);
        gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    fn note(&self) {
        self.lock().push(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many keys the probe has counted, as its blocks tell.
pub(crate) fn keys_in(picture: &Picture) -> u32 {
    (0..16).fold(0, |keys, bit| {
        let x = (32 * bit + 16) * picture.width / WINDOW.0;
        let y = 16 * picture.height / WINDOW.1;
        let white = picture.rgb(x, y)[1] > 0x80;
        keys | u32::from(white) << bit
    })
}

/// Whether the lowest rows have this colour.
pub(crate) fn background(picture: &Picture, rgb: [u8; 3]) -> bool {
    picture.shows(picture.width / 2, picture.height - 6, rgb)
}
