//! Relays in a row, each a process of its own.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::bench::Progress;
use crate::bench::cache_dir;
use crate::bench::usage::Usage;
use crate::terminal::CertificateHash;

/// Upstream's relay that speaks the version of the media library that we use.
const UPSTREAM: &str = "0.17.10";

/// A relay says where it is within this.
const START_MAX: Duration = Duration::from_secs(10);

/// How often we look whether it listens.
const LOOK: Duration = Duration::from_millis(20);

/// Whose relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Upstream,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Upstream => "upstream's",
        })
    }
}

/// Relays that dial each other in a row.
pub(super) struct Chain(Vec<Relay>);

/// A relay that runs. Ends with it.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    pub(super) pin: CertificateHash,
    child: Child,
}

impl Chain {
    pub(super) async fn start(kind: Kind, hops: usize) -> anyhow::Result<Self> {
        let mut relays: Vec<Relay> = Vec::new();
        for hop in 1..=hops {
            let before = relays.last().map(|it| it.address);
            let relay = match kind {
                Kind::Ours => ours(hop, before).await,
                Kind::Upstream => upstream(hop, before).await,
            };
            relays.push(relay.with_context(|| format!("start {kind} relay {hop}"))?);
        }
        Ok(Self(relays))
    }

    /// Where pictures go in.
    pub(super) fn first(&self) -> &Relay {
        self.0.first().expect("a chain has a relay")
    }

    /// Where they are watched.
    pub(super) fn last(&self) -> &Relay {
        self.0.last().expect("a chain has a relay")
    }

    /// What each takes.
    pub(super) fn usage(&self) -> anyhow::Result<Vec<Usage>> {
        let pids = self.0.iter().filter_map(|it| it.child.id());
        pids.map(Usage::of).collect()
    }
}

/// Sees to it that upstream's relay is there. Takes minutes, once.
pub(super) fn install(progress: Progress<'_>) -> anyhow::Result<()> {
    if program()?.is_file() {
        return Ok(());
    }
    progress("installing upstream's relay, once: this takes some minutes");
    let status = std::process::Command::new("cargo")
        .args(["install", "moq-relay", "--version", &format!("={UPSTREAM}")])
        // QUIC and nothing else; the rest has no part in this.
        .args(["--no-default-features", "--features", "noq", "--root"])
        .arg(root()?)
        .stdout(Stdio::null())
        .status()
        .context("run cargo")?;
    if !status.success() {
        bail!("upstream's relay was not installed; `--only ours` does without");
    }
    Ok(())
}

fn root() -> anyhow::Result<PathBuf> {
    Ok(cache_dir()?
        .join("bench")
        .join(format!("moq-relay-{UPSTREAM}")))
}

fn program() -> anyhow::Result<PathBuf> {
    Ok(root()?.join("bin/moq-relay"))
}

#[derive(Deserialize)]
struct Ready {
    address: SocketAddr,
    /// DER in hexadecimal.
    certificate: String,
}

async fn ours(hop: usize, before: Option<SocketAddr>) -> anyhow::Result<Relay> {
    let program = std::env::current_exe()?
        .with_file_name("examples")
        .join("alone");
    if !program.is_file() {
        bail!(
            "{} is missing: cargo build --release -p relay --example alone",
            program.display()
        );
    }
    let mut child = Command::new(program)
        .arg(hop.to_string())
        .args(before.map(|it| it.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().context("it was piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(START_MAX, lines.next_line()).await??;
    let ready: Ready = serde_json::from_str(&line.context("it ended at once")?)?;
    let digits = ready.certificate.as_bytes().chunks(2);
    let bytes = digits.map(|it| u8::from_str_radix(std::str::from_utf8(it)?, 16).context("hex"));
    let certificate: Vec<u8> = bytes.collect::<anyhow::Result<_>>()?;
    let hash = ring::digest::digest(&ring::digest::SHA256, &certificate);
    Ok(Relay {
        address: ready.address,
        pin: CertificateHash(hash.as_ref().try_into()?),
        child,
    })
}

async fn upstream(hop: usize, before: Option<SocketAddr>) -> anyhow::Result<Relay> {
    let address = free()?;
    let mut command = Command::new(program()?);
    command
        .args(["--listen", &address.to_string()])
        .args(["--web-http-listen", &address.to_string()])
        .args(["--listen-tls-generate", "localhost", "--auth-public", "**"])
        .args(["--cluster-id", &hop.to_string(), "--log-level", "warn"])
        .args(["--connect-tls-insecure"]);
    if let Some(before) = before {
        let url = format!("https://localhost:{}/", before.port());
        command.args(["--cluster-connect", &url]);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // It warns of every watcher that leaves.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pin = timeout(START_MAX, async {
        loop {
            if let Ok(pin) = fingerprint(address).await {
                return pin;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    let pin = pin.await.context("it does not say its certificate")?;
    Ok(Relay {
        address,
        pin,
        child,
    })
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Upstream's relay tells its certificate over HTTP.
async fn fingerprint(address: SocketAddr) -> anyhow::Result<CertificateHash> {
    let mut stream = TcpStream::connect(address).await?;
    let ask =
        format!("GET /certificate.sha256 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok(body.trim().parse()?)
}
