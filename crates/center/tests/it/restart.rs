//! The center goes away and comes back.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use api::ErrorCode;
use api::client::Client;
use api::node::NodeStatus;
use api::session::{Outcome, RenewTicket, SessionState};
use center::Center;
use model::Epoch;
use tokio_util::sync::CancellationToken;

use crate::support::{
    ScriptedNode, TestCenter, admin_token, code, config, create_test, eventually, manifest,
    prepare, terminal,
};

const DIRECTORY: &str = "SELVEDGE_TEST_CENTER_DIRECTORY";
const PORT: &str = "SELVEDGE_TEST_CENTER_PORT";

/// Not a test: the center of the tests below, in a process that can be killed.
#[test]
#[ignore = "is started by other tests"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    prepare();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = config(Path::new(&directory), port);
        let center = Center::load(config).await.unwrap();
        println!("\naddress={}", center.address());
        center.run(CancellationToken::new()).await;
    });
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a center in a process of its own.
fn spawn(directory: &Path, port: u16) -> (Process, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["restart::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(PORT, port.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.lines().map_while(Result::ok);
    let address = lines.find_map(|it| it.strip_prefix("address=").map(str::to_owned));
    let process = Process(child);
    (process, address.unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_center_comes_back_to_what_it_had_promised() {
    let directory = tempfile::tempdir().unwrap();
    let (mut process, address) = spawn(directory.path(), 0);
    prepare();
    let base = format!("http://{address}");
    let client = Client::new(&base, Some(admin_token(directory.path()))).unwrap();
    let deploy = api::app::DeployApp {
        manifest: manifest("test", ""),
    };
    client.deploy(&deploy).await.unwrap();
    let frankfurt = ScriptedNode::new("frankfurt");
    let token = client.create_join_token().await.unwrap().token;
    frankfurt.join(address, &token).await;
    frankfurt.connect(address).await;
    let unused = client.create_join_token().await.unwrap().token;
    let near = terminal(&[(&frankfurt, 10)]);
    let create = create_test(near.clone());
    let created = eventually("a session starts", async || {
        client.create_session(&create).await.ok()
    })
    .await;
    let generation = frankfurt.plan().generation;

    process.0.kill().unwrap();
    process.0.wait().unwrap();
    let (_process, again) = spawn(directory.path(), address.port());
    assert_eq!(again, address);

    // The terminal asks before the node is back, and is not sent away.
    let mine = client.with_token(&created.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: None,
    };
    let (stop, renewed) = tokio::join!(
        frankfurt.reconnect(address),
        mine.renew(created.session, &renew),
    );
    assert_eq!(stop, []);
    let renewed = renewed.unwrap();
    assert_eq!(renewed.outcome, Outcome::Same, "{}", renewed.why);
    assert!(frankfurt.holds(created.session, 1));
    assert_eq!(client.apps().await.unwrap().items.len(), 1);
    eventually("the plan is newer", async || {
        (frankfurt.plan().generation > generation).then_some(())
    })
    .await;
    // What was not used is still good.
    let shanghai = ScriptedNode::new("shanghai");
    shanghai.join(address, &unused).await;
    shanghai.connect(address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_the_center_was_away_is_settled_when_it_returns() {
    let center = TestCenter::start().await;
    let [frankfurt, shanghai, sao_paulo] = &center.cloud().await;
    let near = terminal(&[(frankfurt, 10), (shanghai, 20)]);
    let lost = center.create(near.clone()).await;
    let (directory, port) = center.stop().await;
    // The node loses the session, and claims one that is not its own.
    frankfurt.forget();
    frankfurt.pretend(model::SessionId(99), Epoch(1));

    let center = TestCenter::start_in(directory, port).await;
    let (stop, _, _) = tokio::join!(
        frankfurt.reconnect(center.address),
        shanghai.reconnect(center.address),
        sao_paulo.reconnect(center.address),
    );
    assert_eq!(stop, [(model::SessionId(99), Epoch(1))]);
    let client = center.client();
    eventually("the session is lost", async || {
        let view = client.session(lost.session).await.unwrap();
        (view.state == SessionState::Lost).then_some(())
    })
    .await;
    let mine = center.stranger().with_token(&lost.key);
    let renew = RenewTicket {
        terminal: near,
        lost_entry: None,
    };
    let renewed = mine.renew(lost.session, &renew).await.unwrap();
    assert_eq!(renewed.outcome, Outcome::Restarted);
    assert_eq!(renewed.ticket.epoch, Epoch(2));
    let explained = mine.explain(lost.session).await.unwrap();
    assert_eq!(explained.decisions[0].cause, "Frankfurt has restarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_holds_and_nobody_misses_is_collected() {
    let center = TestCenter::start().await;
    let [frankfurt, ..] = &center.cloud().await;
    let created = center.create(terminal(&[(frankfurt, 10)])).await;
    let client = center.client();
    frankfurt.forget();
    let begun = tokio::time::Instant::now();
    loop {
        frankfurt.forget();
        match client.session(created.session).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code(), Some(ErrorCode::NotFound));
                break;
            }
        }
        // Thirty seconds of grace, and time to notice.
        assert!(begun.elapsed() < std::time::Duration::from_secs(90));
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() > std::time::Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_centers_on_one_directory_are_refused() {
    let center = TestCenter::start().await;
    let config = config(center.directory.path(), 0);
    let error = Center::load(config).await.err().unwrap();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(it) = source {
        text.push_str(&format!(": {it}"));
        source = it.source();
    }
    assert!(text.contains("in use by another process"), "{text}");
    assert_eq!(
        code(center.stranger().status().await),
        ErrorCode::Unauthorized
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_quick_with_watchers_and_nodes_connected() {
    let center = TestCenter::start().await;
    let nodes = center.cloud().await;
    let _events = center.client().events().await.unwrap();
    center
        .wait_for_status(nodes[0].id(), NodeStatus::Ready)
        .await;
    center.stop().await; // asserts that it takes less than five seconds
}
