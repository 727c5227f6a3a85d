//! What goes over the wire to who watches, byte by byte: which groups, in which order of words, and
//! what a change of mind does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes};
use quinn::{RecvStream, SendStream, VarInt};
use quinn_proto::coding::Codec;
use relay::publish::{Broadcast, Place, Track};

use crate::harness::{Node, World, quic, soon};
use crate::media::{VIDEO, at};

const SCREEN: &str = "s/7/1/screen";

/// Words of moq-lite 06.
const SUBSCRIBE: u64 = 2;
const GROUP: u64 = 0;
const START: u64 = 0;
const END: u64 = 1;

fn put(message: &mut Vec<u8>, number: u64) {
    VarInt::from_u64(number).unwrap().encode(message);
}

fn get(message: &mut impl Buf) -> u64 {
    VarInt::decode(message).unwrap().into_inner()
}

fn said(kind: Option<u64>, message: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(kind) = kind {
        put(&mut said, kind);
    }
    put(&mut said, message.len() as u64);
    said.extend_from_slice(message);
    said
}

#[derive(Clone, Copy)]
struct Wanted {
    max_age_ms: u64,
    /// As on the wire: 0 is any, and the last is one more than it is.
    first: u64,
    last: u64,
}

const ALL: Wanted = Wanted {
    max_age_ms: 60_000,
    first: 0,
    last: 0,
};

impl Wanted {
    fn put(self, message: &mut Vec<u8>) {
        message.push(100);
        for number in [self.max_age_ms, self.first, self.last, 0, 0] {
            put(message, number);
        }
    }
}

/// A terminal that says what it wants and writes down what it hears.
struct Listener {
    quic: quinn::Connection,
    asked: SendStream,
    answers: RecvStream,
}

impl Listener {
    async fn subscribe(node: &Node, wanted: Wanted) -> Self {
        let quic = quic(node.address, "moq-lite-06").await;
        let mut path = vec![1, 2];
        let text = "/?token=7";
        put(&mut path, text.len() as u64);
        path.extend_from_slice(text.as_bytes());
        let mut hello = quic.open_uni().await.unwrap();
        hello.write_all(&said(Some(1), &path)).await.unwrap();
        hello.finish().unwrap();

        let mut request = vec![5];
        for name in [SCREEN, "video"] {
            put(&mut request, name.len() as u64);
            request.extend_from_slice(name.as_bytes());
        }
        wanted.put(&mut request);
        let (mut asked, answers) = quic.open_bi().await.unwrap();
        let request = said(Some(SUBSCRIBE), &request);
        // A word may come in pieces.
        let (head, tail) = request.split_at(9);
        asked.write_all(head).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        asked.write_all(tail).await.unwrap();
        Self {
            quic,
            asked,
            answers,
        }
    }

    async fn update(&mut self, wanted: Wanted) {
        let mut update = Vec::new();
        wanted.put(&mut update);
        self.asked.write_all(&said(None, &update)).await.unwrap();
    }

    /// The next answer: its kind, and the group it names.
    async fn answer(&mut self) -> (u64, u64) {
        let mut answer = [0; 3];
        soon("answer", self.answers.read_exact(&mut answer))
            .await
            .unwrap();
        assert_eq!(answer[1], 1, "groups are small numbers here");
        (answer[0].into(), answer[2].into())
    }

    /// The next group that is sent whole, with the times and contents of its frames.
    async fn group(&self) -> (u64, Vec<(u64, Bytes)>) {
        loop {
            let mut stream = soon("stream", self.quic.accept_uni()).await.unwrap();
            let all = soon("group", stream.read_to_end(1 << 20)).await.unwrap();
            let mut all = Bytes::from(all);
            if get(&mut all) != GROUP {
                continue;
            }
            let size = usize::try_from(get(&mut all)).unwrap();
            let mut header = all.split_to(size);
            let (subscription, sequence) = (get(&mut header), get(&mut header));
            assert_eq!((subscription, get(&mut header), header.len()), (5, 0, 0));
            let (mut frames, mut time) = (Vec::new(), 0_u64);
            while all.has_remaining() {
                let folded = get(&mut all);
                let delta = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
                time = time.strict_add_signed(delta);
                let size = usize::try_from(get(&mut all)).unwrap();
                frames.push((time, all.split_to(size)));
            }
            return (sequence, frames);
        }
    }
}

fn screen(node: &Node) -> (Broadcast, Track) {
    let screen = node.relay.publish(SCREEN).unwrap();
    let video = screen.track("video", VIDEO).unwrap();
    screen.announce().unwrap();
    (screen, video)
}

/// Until somebody sits in the fan of a track.
async fn watched(video: &Track) {
    assert!(soon("a watcher", video.demand().wanted()).await);
}

/// Five frames a group, 16 ms each.
fn write(video: &mut Track, frames: std::ops::Range<u32>) {
    for n in frames {
        let place = [Place::SameGroup, Place::NewGroup][usize::from(n % 5 == 0)];
        let payload = Bytes::from(format!("{n}"));
        video.write(place, at(n), payload).unwrap();
    }
}

fn frames(numbers: std::ops::Range<u32>) -> Vec<(u64, Bytes)> {
    numbers
        .map(|n| {
            let time = u64::try_from(at(n).as_micros()).unwrap();
            (time, Bytes::from(format!("{n}")))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_is_sent_what_is_not_too_old_and_then_all() {
    let node = World::default().node(1);
    let (_screen, mut video) = screen(&node);
    // Keeps all for who joins later.
    let first = Listener::subscribe(&node, ALL).await;
    watched(&video).await;
    write(&mut video, 0..22);
    let mut all = BTreeMap::new();
    for _ in 0..4 {
        let (sequence, frames) = first.group().await;
        all.insert(sequence, frames);
    }
    let expected: BTreeMap<_, _> = (0..4)
        .map(|n| (u64::from(n), frames(5 * n..5 * n + 5)))
        .collect();
    assert_eq!(all, expected);

    // The newest frame is of 336 ms; group 3 ends where group 4 begins, at 320; group 2 at 240.
    let wanted = Wanted {
        max_age_ms: 50,
        ..ALL
    };
    let mut second = Listener::subscribe(&node, wanted).await;
    assert_eq!(second.answer().await, (START, 3));
    write(&mut video, 22..26);
    // The newest first.
    assert_eq!(second.group().await, (4, frames(20..25)));
    assert_eq!(second.group().await, (3, frames(15..20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_groups_that_are_asked_for_are_sent() {
    let node = World::default().node(1);
    let (_screen, mut video) = screen(&node);
    let wanted = Wanted {
        first: 1,
        last: 2 + 1,
        ..ALL
    };
    let mut terminal = Listener::subscribe(&node, wanted).await;
    watched(&video).await;
    write(&mut video, 0..21);
    assert_eq!(terminal.answer().await, (START, 1));
    let mut sent = [terminal.group().await, terminal.group().await];
    sent.sort_unstable_by_key(|it| it.0);
    assert_eq!(sent, [(1, frames(5..10)), (2, frames(10..15))]);

    // What came after was held back, not forgotten.
    terminal.update(Wanted { last: 4 + 1, ..ALL }).await;
    write(&mut video, 21..26);
    let mut sent = [terminal.group().await, terminal.group().await];
    sent.sort_unstable_by_key(|it| it.0);
    assert_eq!(sent, [(3, frames(15..20)), (4, frames(20..25))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_track_is_said_when_all_of_it_is_sent() {
    let node = World::default().node(1);
    let (_screen, mut video) = screen(&node);
    let mut terminal = Listener::subscribe(&node, ALL).await;
    watched(&video).await;
    write(&mut video, 0..8);
    drop(video);
    assert_eq!(terminal.answer().await, (START, 0));
    assert_eq!(terminal.answer().await, (END, 2));
    let mut sent = [terminal.group().await, terminal.group().await];
    sent.sort_unstable_by_key(|it| it.0);
    assert_eq!(sent, [(0, frames(0..5)), (1, frames(5..8))]);
    let rest = soon("end", terminal.answers.read_to_end(16)).await;
    assert_eq!(rest.unwrap(), Vec::<u8>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_that_comes_again_is_another() {
    let node = World::default().node(1);
    let (before, mut video) = screen(&node);
    let mut first = Listener::subscribe(&node, ALL).await;
    write(&mut video, 0..2);
    assert_eq!(first.answer().await, (START, 0));
    drop((before, video));

    // Who asks from now on is sent what is there now, and the first is told that it is over.
    let (_after, mut video) = screen(&node);
    write(&mut video, 0..6);
    let second = Listener::subscribe(&node, ALL).await;
    assert_eq!(second.group().await, (0, frames(0..5)));
    assert_eq!(first.answer().await, (END, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_broken_off_alone() {
    let node = World::default().node(1);
    let (_screen, mut video) = screen(&node);
    let terminal = Listener::subscribe(&node, ALL).await;
    write(&mut video, 0..1);
    // Longer than any name, cut short, and not text.
    let long = [&[2][..], &[0x80, 0x10, 0, 0]].concat();
    let short = said(Some(SUBSCRIBE), &[5, 40, b's']);
    let no_text = said(
        Some(SUBSCRIBE),
        &[6, 2, 0xff, 0xfe, 1, b'v', 100, 0, 0, 0, 0, 0],
    );
    for nonsense in [long, short, no_text] {
        let (mut asked, mut answers) = terminal.quic.open_bi().await.unwrap();
        asked.write_all(&nonsense).await.unwrap();
        let answer = soon("refusal", answers.read_to_end(16)).await;
        assert!(answer.is_err(), "{nonsense:?} was answered: {answer:?}");
    }
    write(&mut video, 1..6);
    assert_eq!(terminal.group().await, (0, frames(0..5)));
}
