//! The typed client of the center's API.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use model::{AppName, NodeId, SessionId, SiteName};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::{AppView, DeployApp, Release};
use crate::error::{ErrorBody, ErrorDetail};
use crate::event::Event;
use crate::live::{
    Align, Aligned, CreateStreamKey, CreatedStreamKey, LiveView, PublishCamera, PublishWay,
    StreamKeyView, WatchEvent, WatchTicket,
};
use crate::node::{JoinToken, NodeView};
use crate::place::Place;
use crate::session::{
    CreateSession, CreatedSession, Discover, Discovered, Explanations, MoveSession, RenewTicket,
    Renewed, SessionLogs, SessionView,
};
use crate::site::SiteView;
use crate::status::CloudStatus;
use crate::{ErrorCode, Page};

/// How long one request may take. Dispatch asks several nodes in turn, each within 2 s.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest event that is read from the stream, in bytes.
const EVENT_MAX: usize = 16 * 1024 * 1024;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The center said no.
    #[error("{}", .0.message)]
    Refused(ErrorDetail),
    /// The center did not answer.
    #[error("the center at {base} does not answer")]
    Unreachable {
        base: String,
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not what this version understands.
    #[error("the answer of {base} is not understood: {what}")]
    Garbled { base: String, what: String },
}

impl ClientError {
    /// The code of a refusal.
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(detail) => Some(detail.code),
            Self::Unreachable { .. } | Self::Garbled { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused(detail) => detail.hint.as_deref(),
            Self::Unreachable { .. } => {
                Some("is it running? `--center` or SELVEDGE_CENTER names its address")
            }
            Self::Garbled { .. } => Some("do client and center have the same version?"),
        }
    }
}

/// A client of one center.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the center at `base`, such as `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// When the system offers no way to make connections.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|source| ClientError::Unreachable {
                base: base.clone(),
                source,
            })?;
        Ok(Self { http, base, token })
    }

    /// The same client with another token, such as a session's key.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self.clone()
        }
    }

    /// How the cloud is.
    pub async fn status(&self) -> Result<CloudStatus, ClientError> {
        self.get("/v1/status").await
    }

    /// All sites.
    pub async fn sites(&self) -> Result<Page<SiteView>, ClientError> {
        self.get("/v1/sites").await
    }

    /// One site.
    pub async fn site(&self, site: &SiteName) -> Result<SiteView, ClientError> {
        self.get(&format!("/v1/sites/{site}")).await
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Page<NodeView>, ClientError> {
        self.get("/v1/nodes").await
    }

    /// One node.
    pub async fn node(&self, node: NodeId) -> Result<NodeView, ClientError> {
        self.get(&format!("/v1/nodes/{node}")).await
    }

    /// A token that lets one node join.
    pub async fn create_join_token(&self) -> Result<JoinToken, ClientError> {
        self.send(Method::POST, "/v1/join-tokens", Some(&())).await
    }

    /// All apps.
    pub async fn apps(&self) -> Result<Page<AppView>, ClientError> {
        self.get("/v1/apps").await
    }

    /// One app.
    pub async fn app(&self, app: &AppName) -> Result<AppView, ClientError> {
        self.get(&format!("/v1/apps/{app}")).await
    }

    /// The releases of an app, newest first.
    pub async fn releases(&self, app: &AppName) -> Result<Page<Release>, ClientError> {
        self.get(&format!("/v1/apps/{app}/releases")).await
    }

    /// Publishes a release.
    pub async fn deploy(&self, deploy: &DeployApp) -> Result<AppView, ClientError> {
        self.send(Method::POST, "/v1/apps", Some(deploy)).await
    }

    /// Removes an app; its sessions are closed.
    pub async fn remove_app(&self, app: &AppName) -> Result<(), ClientError> {
        self.send(Method::DELETE, &format!("/v1/apps/{app}"), None::<&()>)
            .await
    }

    /// All live events.
    pub async fn lives(&self) -> Result<Page<LiveView>, ClientError> {
        self.get("/v1/live").await
    }

    /// One live event.
    pub async fn live(&self, event: &AppName) -> Result<LiveView, ClientError> {
        self.get(&format!("/v1/live/{event}")).await
    }

    /// A way to watch an event.
    pub async fn watch(
        &self,
        event: &AppName,
        watch: &WatchEvent,
    ) -> Result<WatchTicket, ClientError> {
        let path = format!("/v1/live/{event}/watch");
        self.send(Method::POST, &path, Some(watch)).await
    }

    /// Where to publish a camera. The token must be a stream key.
    pub async fn publish(
        &self,
        event: &AppName,
        publish: &PublishCamera,
    ) -> Result<PublishWay, ClientError> {
        let path = format!("/v1/live/{event}/publish");
        self.send(Method::POST, &path, Some(publish)).await
    }

    /// Brings an event's cameras together in time. Answers when it has looked long enough.
    pub async fn align(&self, event: &AppName, align: &Align) -> Result<Aligned, ClientError> {
        let path = format!("/v1/live/{event}/align");
        self.send(Method::POST, &path, Some(align)).await
    }

    /// Forgets what brings an event's cameras together.
    pub async fn forget_alignment(&self, event: &AppName) -> Result<(), ClientError> {
        let path = format!("/v1/live/{event}/align");
        self.send(Method::DELETE, &path, None::<&()>).await
    }

    /// A key that lets cameras publish.
    pub async fn create_stream_key(
        &self,
        event: &AppName,
        key: &CreateStreamKey,
    ) -> Result<CreatedStreamKey, ClientError> {
        let path = format!("/v1/live/{event}/keys");
        self.send(Method::POST, &path, Some(key)).await
    }

    /// The keys of an event.
    pub async fn stream_keys(&self, event: &AppName) -> Result<Page<StreamKeyView>, ClientError> {
        self.get(&format!("/v1/live/{event}/keys")).await
    }

    /// Takes a key back.
    pub async fn revoke_stream_key(&self, event: &AppName, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/live/{event}/keys/{id}");
        self.send(Method::DELETE, &path, None::<&()>).await
    }

    /// Places a person may say they are in.
    pub async fn places(&self) -> Result<Page<Place>, ClientError> {
        self.get("/v1/places").await
    }

    /// Which places could serve a terminal.
    pub async fn discover(&self, discover: &Discover) -> Result<Discovered, ClientError> {
        self.send(Method::POST, "/v1/discover", Some(discover))
            .await
    }

    /// Starts a session.
    pub async fn create_session(
        &self,
        create: &CreateSession,
    ) -> Result<CreatedSession, ClientError> {
        self.send(Method::POST, "/v1/sessions", Some(create)).await
    }

    /// All sessions.
    pub async fn sessions(&self) -> Result<Page<SessionView>, ClientError> {
        self.get("/v1/sessions").await
    }

    /// One session.
    pub async fn session(&self, session: SessionId) -> Result<SessionView, ClientError> {
        self.get(&format!("/v1/sessions/{session}")).await
    }

    /// Why a session is where it is.
    pub async fn explain(&self, session: SessionId) -> Result<Explanations, ClientError> {
        self.get(&format!("/v1/sessions/{session}/explain")).await
    }

    /// What a session's app printed.
    pub async fn logs(&self, session: SessionId) -> Result<SessionLogs, ClientError> {
        self.get(&format!("/v1/sessions/{session}/logs")).await
    }

    /// A new ticket to a session.
    pub async fn renew(
        &self,
        session: SessionId,
        renew: &RenewTicket,
    ) -> Result<Renewed, ClientError> {
        let path = format!("/v1/sessions/{session}/ticket");
        self.send(Method::POST, &path, Some(renew)).await
    }

    /// Moves a session.
    pub async fn move_session(
        &self,
        session: SessionId,
        to: &MoveSession,
    ) -> Result<Renewed, ClientError> {
        let path = format!("/v1/sessions/{session}/move");
        self.send(Method::POST, &path, Some(to)).await
    }

    /// Closes a session.
    pub async fn close_session(&self, session: SessionId) -> Result<(), ClientError> {
        self.send(
            Method::DELETE,
            &format!("/v1/sessions/{session}"),
            None::<&()>,
        )
        .await
    }

    /// The event stream: a snapshot, then changes, until the center goes away.
    pub async fn events(
        &self,
    ) -> Result<impl Stream<Item = Result<Event, ClientError>> + Send + use<>, ClientError> {
        let response = self
            .request(Method::GET, "/v1/events")
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        let response = self.success(response).await?;
        let base = self.base.clone();
        let mut lines = Lines::default();
        Ok(response.bytes_stream().flat_map(move |chunk| {
            let events = match chunk {
                Ok(bytes) => lines
                    .push(&bytes)
                    .into_iter()
                    .map(|data| {
                        serde_json::from_str(&data).map_err(|error| ClientError::Garbled {
                            base: base.clone(),
                            what: error.to_string(),
                        })
                    })
                    .collect(),
                Err(source) => vec![Err(ClientError::Unreachable {
                    base: base.clone(),
                    source,
                })],
            };
            futures::stream::iter(events)
        }))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, None::<&()>).await
    }

    async fn send<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let mut request = self.request(method, path).timeout(TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        let response = self.success(response).await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|source| self.unreachable(source))?;
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text).map_err(|error| self.garbled(error))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn success(&self, response: reqwest::Response) -> Result<reqwest::Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response
            .bytes()
            .await
            .map_err(|source| self.unreachable(source))?;
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(ClientError::Refused(body.error)),
            Err(_) => Err(self.garbled(format!("status {status}"))),
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            base: self.base.clone(),
            source,
        }
    }

    fn garbled(&self, what: impl ToString) -> ClientError {
        ClientError::Garbled {
            base: self.base.clone(),
            what: what.to_string(),
        }
    }
}

/// Cuts a server-sent event stream into the data of its events, each made whole as
/// `{"event": …, "data": …}`.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        if self.rest.len() + bytes.len() > EVENT_MAX {
            self.rest.clear();
        }
        self.rest.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|it| it == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            if let (Some(event), Some(data)) = (field("event:"), field("data:")) {
                whole.push(format!(r#"{{"event":"{event}","data":{data}}}"#));
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let stream = b"event: removed\ndata: {\"kind\":\"app\",\"id\":\"doom\"}\n\n: ping\n\nevent: links\ndata: []\n\n";
        for cut in 0..stream.len() {
            let mut lines = Lines::default();
            let mut events = lines.push(&stream[..cut]);
            events.extend(lines.push(&stream[cut..]));
            let events: Vec<Event> = events
                .iter()
                .map(|it| serde_json::from_str(it).unwrap())
                .collect();
            assert_eq!(events.len(), 2, "cut at {cut}");
            assert_eq!(events[1], Event::Links(Vec::new()));
        }
    }
}
