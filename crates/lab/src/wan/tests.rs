//! Real sockets through a real engine. Nothing here asserts an upper bound of a time: how exact
//! the emulation is, a bench tells. A lower bound is a promise and holds on any machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use super::*;
use crate::city::City;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_datagram_takes_the_round_trip() {
    let wan = Wan::start(1).unwrap();
    let target = socket();
    let proxy = open(&wan, &target, Duration::from_millis(40));
    let client = connected(&proxy);

    let start = Instant::now();
    client.send(b"hello").unwrap();
    echo(&target);
    assert_eq!(receive(&client), b"hello");
    assert!(start.elapsed() >= Duration::from_millis(40));

    let stats = until(|| Some(proxy.stats()).filter(|it| it.down.delivered_packets == 1));
    assert_eq!(stats.up.delivered_packets, 1);
    assert_eq!(stats.up.delivered.get(), 5);
}

#[test]
fn clients_are_told_apart_and_answered_apart() {
    let wan = Wan::start(1).unwrap();
    let target = socket();
    let proxy = open(&wan, &target, Duration::ZERO);
    let clients = [connected(&proxy), connected(&proxy), connected(&proxy)];
    let mut seen = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        client.send(&[index as u8]).unwrap();
        let (_, from) = target.recv_from(&mut [0; 9]).unwrap();
        assert!(!seen.contains(&from), "two clients look alike");
        seen.push(from);
    }
    for (index, address) in seen.iter().enumerate().rev() {
        target.send_to(&[index as u8], address).unwrap();
    }
    for (index, client) in clients.iter().enumerate() {
        assert_eq!(receive(client), [index as u8]);
    }
}

#[test]
fn large_datagrams_and_bursts_arrive_whole_and_in_order() {
    let wan = Wan::start(1).unwrap();
    let target = socket();
    let proxy = open(&wan, &target, Duration::from_millis(10));
    let client = connected(&proxy);
    for round in 0..40u8 {
        for part in 0..10u8 {
            let mut payload = vec![part; 1_452];
            payload[0] = round;
            client.send(&payload).unwrap();
        }
        for part in 0..10u8 {
            let mut buffer = [0; 2_000];
            let size = target.recv(&mut buffer).unwrap();
            assert_eq!((size, buffer[0], buffer[1]), (1_452, round, part));
        }
    }
    let huge = vec![7; 60_000];
    client.send(&huge).unwrap();
    assert_eq!(receive(&target), huge);
}

#[test]
fn a_cut_link_carries_nothing_until_it_is_mended() {
    let wan = Wan::start(1).unwrap();
    let target = socket();
    let proxy = open(&wan, &target, Duration::ZERO);
    let client = connected(&proxy);
    for round in 1..=200 {
        proxy.set_link(Link::default().cut());
        client.send(b"lost").unwrap();
        until(|| (proxy.stats().up.lost_packets == round).then_some(()));
        proxy.set_link(Link::default());
        client.send(b"found").unwrap();
        assert_eq!(receive(&target), b"found");
    }
}

#[test]
fn half_of_a_lossy_link_gets_through() {
    let wan = Wan::start(42).unwrap();
    let target = socket();
    let proxy = open(&wan, &target, Duration::ZERO);
    proxy.set_links(
        Link {
            loss: 0.5,
            ..Link::default()
        },
        Link::default(),
    );
    let client = connected(&proxy);
    for _ in 0..400 {
        client.send(b"x").unwrap();
    }
    let up = until(|| {
        let up = proxy.stats().up;
        (up.lost_packets + up.delivered_packets == 400).then_some(up)
    });
    assert!((140..=260).contains(&up.lost_packets), "{up:?}");
}

#[test]
fn a_flow_follows_the_target() {
    let wan = Wan::start(1).unwrap();
    let (first, second) = (socket(), socket());
    let proxy = wan.proxy(ANY, None, Link::default()).unwrap();
    let client = connected(&proxy);
    client.send(b"nobody").unwrap();
    until(|| (proxy.stats().up.unrouted_packets == 1).then_some(()));

    proxy.set_target(first.local_addr().ok());
    client.send(b"one").unwrap();
    assert_eq!(receive(&first), b"one");

    proxy.set_target(second.local_addr().ok());
    client.send(b"two").unwrap();
    let (payload, from) = receive_from(&second);
    assert_eq!(payload, b"two");
    second.send_to(b"back", from).unwrap();
    assert_eq!(receive(&client), b"back");
}

#[test]
fn more_clients_than_flows_end_the_most_idle() {
    let wan = Wan::start(1).unwrap();
    let target = socket();
    let proxy = open(&wan, &target, Duration::ZERO);
    let clients: Vec<_> = (0..300).map(|_| connected(&proxy)).collect();
    for client in &clients {
        client.send(b"x").unwrap();
        assert_eq!(receive(&target), b"x");
    }
    // The last is among the living, the first comes back with a new flow.
    for client in [&clients[299], &clients[0]] {
        client.send(b"again").unwrap();
        echo(&target);
        assert_eq!(receive(client), b"again");
    }
}

#[test]
fn tcp_shares_the_port_and_takes_its_time() {
    let wan = Wan::start(1).unwrap();
    let listener = TcpListener::bind(ANY).unwrap();
    let link = Link::from_round_trip(Duration::from_millis(30));
    let proxy = wan.proxy(ANY, listener.local_addr().ok(), link).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        stream.write_all(&question).unwrap();
    });

    let start = Instant::now();
    let mut client = dial(&proxy);
    client.write_all(b"how far?").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"how far?");
    // One round trip for the handshake, one for question and answer.
    assert!(start.elapsed() >= Duration::from_millis(60));
    server.join().unwrap();
}

#[test]
fn much_tcp_arrives_whole_through_a_slow_reader() {
    const SIZE: usize = 24 << 20;
    let wan = Wan::start(1).unwrap();
    let listener = TcpListener::bind(ANY).unwrap();
    let link = Link::from_round_trip(Duration::from_millis(2));
    let proxy = wan.proxy(ANY, listener.local_addr().ok(), link).unwrap();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let data: Vec<u8> = (0..SIZE).map(|it| (it % 251) as u8).collect();
        stream.write_all(&data).unwrap();
    });
    let mut client = dial(&proxy);
    // Nothing is read until the sender has met the bound of what is in our hands.
    until(|| (proxy.stats().down.delivered_packets > 0).then_some(()));
    let mut data = Vec::new();
    client.read_to_end(&mut data).unwrap();
    assert_eq!(data.len(), SIZE);
    assert!(
        data.iter()
            .enumerate()
            .all(|(at, it)| *it == (at % 251) as u8)
    );
    sender.join().unwrap();
}

#[test]
fn a_rate_holds_for_tcp() {
    let wan = Wan::start(1).unwrap();
    let listener = TcpListener::bind(ANY).unwrap();
    let link = Link {
        rate: Some(Bitrate::kbps(8_000)), // 1 MB a second
        queue: Duration::from_millis(50),
        ..Link::default()
    };
    let proxy = wan.proxy(ANY, listener.local_addr().ok(), link).unwrap();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[1; 300_000]).unwrap();
    });
    let start = Instant::now();
    let mut data = Vec::new();
    dial(&proxy).read_to_end(&mut data).unwrap();
    assert_eq!(data.len(), 300_000);
    assert!(start.elapsed() >= Duration::from_millis(250));
    sender.join().unwrap();
}

#[test]
fn a_tcp_target_that_is_not_there_ends_the_connection() {
    let wan = Wan::start(1).unwrap();
    let gone = TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let proxy = wan.proxy(ANY, Some(gone), Link::default()).unwrap();
    let mut client = dial(&proxy);
    let result = client.read(&mut [0; 1]);
    assert!(matches!(result, Ok(0)) || result.is_err_and(|it| !is_timeout(&it)));
}

#[test]
fn a_dead_tcp_server_ends_the_connection() {
    let wan = Wan::start(1).unwrap();
    let listener = TcpListener::bind(ANY).unwrap();
    let proxy = wan
        .proxy(ANY, listener.local_addr().ok(), Link::default())
        .unwrap();
    let mut client = dial(&proxy);
    client.write_all(b"unread, so that closing resets").unwrap();
    let (stream, _) = listener.accept().unwrap();
    until(|| (proxy.stats().up.delivered_packets == 1).then_some(()));
    drop(stream);
    let result = client.read(&mut [0; 1]);
    assert!(matches!(result, Ok(0)) || result.is_err_and(|it| !is_timeout(&it)));
}

#[test]
fn a_closed_proxy_frees_its_port() {
    let wan = Wan::start(1).unwrap();
    let proxy = wan.proxy(ANY, None, Link::default()).unwrap();
    let address = proxy.address();
    assert!(matches!(
        wan.proxy(address, None, Link::default()),
        Err(WanError::Listen { .. })
    ));
    drop(proxy);
    let again = until(|| wan.proxy(address, None, Link::default()).ok());
    assert_eq!(again.address(), address);
}

#[test]
fn a_world_of_proxies_fits_on_one_engine() {
    let wan = Wan::start(1).unwrap();
    let target = socket();
    let proxies: Vec<_> = (0..150)
        .map(|_| open(&wan, &target, Duration::from_millis(1)))
        .collect();
    for proxy in &proxies {
        let client = connected(proxy);
        client.send(b"x").unwrap();
        echo(&target);
        assert_eq!(receive(&client), b"x");
    }
}

#[test]
fn farther_is_never_sooner() {
    let ms = |a: &str, b: &str| {
        let at = |slug| City::find(slug).unwrap().position();
        round_trip(at(a), at(b)).as_secs_f64() * 1_000.0
    };
    assert!((ms("berlin", "berlin") - 2.0).abs() < 1e-6);
    assert!((16.5..17.5).contains(&ms("berlin", "frankfurt")));
    assert!((180.0..190.0).contains(&ms("shanghai", "frankfurt")));

    let pole = |km: f64| Position::new(90.0 - km / 111.195, 0.0).unwrap();
    let times: Vec<_> = (0..200)
        .map(|it| round_trip(pole(0.0), pole(f64::from(it) * 10.0)))
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b));
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn open(wan: &Wan, target: &UdpSocket, round_trip: Duration) -> Proxy {
    let link = Link::from_round_trip(round_trip);
    wan.proxy(ANY, target.local_addr().ok(), link).unwrap()
}

fn connected(proxy: &Proxy) -> UdpSocket {
    let socket = socket();
    socket.connect(proxy.address()).unwrap();
    socket
}

fn dial(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    receive_from(socket).0
}

fn receive_from(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (size, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(size);
    (buffer, from)
}

fn echo(socket: &UdpSocket) {
    let (payload, from) = receive_from(socket);
    socket.send_to(&payload, from).unwrap();
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Waits for a state; the engine has no way to tell of it.
fn until<T>(mut state: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(Instant::now() < deadline, "the state never came");
        std::thread::yield_now();
    }
}
