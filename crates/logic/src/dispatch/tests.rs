use super::*;
use model::{Bytes, MeasuredRoundTrip};

#[test]
fn the_nearest_by_measurement_wins() {
    check(
        "rtt frankfurt=12 shanghai=210 sao-paulo=190; frankfurt; shanghai; sao-paulo",
        "frankfurt | sao-paulo: 190 ms measured, 178 ms farther than frankfurt \
         | shanghai: 210 ms measured, 198 ms farther than frankfurt",
    );
}

#[test]
fn without_measurements_the_distance_counts() {
    check(
        "at berlin; frankfurt; shanghai",
        "frankfurt | shanghai: 163 ms by distance, 146 ms farther than frankfurt",
    );
    check(
        "at tokyo; frankfurt; shanghai",
        "shanghai | frankfurt: 179 ms by distance, 133 ms farther than shanghai",
    );
}

#[test]
fn a_measurement_beats_the_distance_but_not_when_it_is_old() {
    check(
        "at berlin; rtt shanghai=10; shanghai; frankfurt",
        "shanghai | frankfurt: 17 ms by distance, 7 ms farther than shanghai",
    );
    check(
        "at berlin; rtt shanghai=10@61; shanghai; frankfurt",
        "frankfurt | shanghai: 163 ms by distance, 146 ms farther than frankfurt",
    );
}

#[test]
fn a_slow_line_does_not_make_unmeasured_places_look_near() {
    // Frankfurt would be 17 ms by distance; 39 ms are the terminal's own.
    check(
        "at berlin; rtt frankfurt=56; frankfurt; warsaw",
        "frankfurt | warsaw: 59 ms by distance, 3 ms farther than frankfurt",
    );
}

#[test]
fn a_measurement_is_good_for_the_whole_site() {
    check(
        "rtt frankfurt=12; frankfurt free=0.1; frankfurt/2; shanghai",
        "frankfurt/2 | shanghai: unknown distance, 88 ms farther than frankfurt \
         | frankfurt: free cores 0.10, needs 0.50",
    );
}

#[test]
fn another_network_is_a_detour() {
    check(
        "at frankfurt in 26201; frankfurt in 26202; frankfurt/2 in 26201",
        "frankfurt/2 | frankfurt: 7 ms by distance, 5 ms farther than frankfurt",
    );
}

#[test]
fn a_terminal_of_which_nothing_is_known_is_served() {
    check(
        "; frankfurt load=0.9; shanghai",
        "shanghai | frankfurt: 90 % in use, shanghai 25 %",
    );
}

#[test]
fn limits_come_before_everything_else() {
    check(
        "rtt frankfurt=5 shanghai=401; need sites=shanghai,tokyo; frankfurt; shanghai; tokyo draining",
        "? | frankfurt: the app may run at shanghai, tokyo only \
         | shanghai: 401 ms measured, the app allows 400 ms | tokyo: it is shutting down",
    );
    check(
        "rtt frankfurt=5; frankfurt silent=12; shanghai nofiles; tokyo norelease",
        "? | frankfurt: it has not answered for 12 s \
         | shanghai: what the app requires is not installed there \
         | tokyo: it does not have this release yet",
    );
    check(
        "; frankfurt memory=200; shanghai encoders=0; tokyo free=0.49",
        "? | frankfurt: free memory 200 MB, needs 512 MB | shanghai: free encoders 0, needs 1 \
         | tokyo: free cores 0.49, needs 0.50",
    );
}

#[test]
fn who_has_refused_is_not_asked_again() {
    check(
        "rtt frankfurt=5 shanghai=200; frankfurt refused; shanghai",
        "shanghai | frankfurt: refused: no display is left",
    );
}

#[test]
fn a_warm_instance_is_worth_some_distance_but_not_an_ocean() {
    check(
        "rtt frankfurt=12 warsaw=30; frankfurt; warsaw warm",
        "warsaw | frankfurt: would have to start the app first, unlike warsaw",
    );
    check(
        "rtt frankfurt=12 shanghai=210; frankfurt; shanghai warm",
        "frankfurt | shanghai: 210 ms measured, 198 ms farther than frankfurt",
    );
}

#[test]
fn a_full_node_sends_people_to_its_neighbour_but_not_across_the_world() {
    check(
        "rtt frankfurt=12 warsaw=30; frankfurt load=0.9; warsaw",
        "warsaw | frankfurt: 90 % in use, warsaw 25 %",
    );
    check(
        "rtt frankfurt=12 shanghai=210; frankfurt load=0.95; shanghai",
        "frankfurt | shanghai: 210 ms measured, 198 ms farther than frankfurt",
    );
}

#[test]
fn price_trouble_and_remainders_count_among_equals() {
    check(
        "rtt frankfurt=12 warsaw=12; frankfurt price=5; warsaw",
        "warsaw | frankfurt: costs more than warsaw",
    );
    check(
        "rtt frankfurt=12 warsaw=12; frankfurt late=0.2; warsaw",
        "warsaw | frankfurt: its pictures have come late, unlike at warsaw",
    );
    check(
        "rtt frankfurt=12 warsaw=12; frankfurt free=1; warsaw free=1 memory=1512 encoders=3",
        "warsaw | frankfurt: what would remain there fits less than at warsaw",
    );
}

#[test]
fn nonsense_from_a_node_does_not_make_it_the_best() {
    for nonsense in ["load=nan", "load=-5", "late=nan", "price=-100", "price=nan"] {
        check(
            &format!("rtt frankfurt=100 warsaw=12; frankfurt {nonsense}; warsaw"),
            "warsaw | frankfurt: 100 ms measured, 88 ms farther than warsaw",
        );
    }
}

#[test]
fn equals_share_the_sessions() {
    let (mut input, _) = parse("rtt frankfurt=12; frankfurt; frankfurt/2; frankfurt/3");
    let mut chosen = BTreeMap::<NodeId, u32>::new();
    for session in 0..3_000 {
        input.session = SessionId(session);
        let decision = input.dispatch();
        assert!(matches!(decision.passed()[0].why, Rejection::AsGood { .. }));
        *chosen.entry(decision.ranked[0].node).or_default() += 1;
    }
    assert_eq!(chosen.len(), 3);
    assert!(
        chosen.values().all(|&it| (900..1_100).contains(&it)),
        "{chosen:?}"
    );

    // Without one of them only its own sessions go elsewhere.
    for session in 0..100 {
        input.session = SessionId(session);
        let before = input.dispatch();
        let mut fewer = input.clone();
        fewer.nodes.remove(2);
        let after = fewer.dispatch();
        if before.ranked[0].node != input.nodes[2].id {
            assert_eq!(after.ranked[0].node, before.ranked[0].node);
        }
    }
}

#[test]
fn the_order_of_the_nodes_does_not_matter() {
    let (mut input, _) =
        parse("at berlin; frankfurt; warsaw; shanghai; tokyo warm; frankfurt/2 load=0.5");
    let before = input.dispatch();
    assert_eq!(input.dispatch(), before);
    input.nodes.reverse();
    assert_eq!(input.dispatch().ranked, before.ranked);
}

#[test]
fn farther_never_means_sooner() {
    let here = Position::new(0.0, 0.0).unwrap();
    let times: Vec<Duration> = (0..1_800)
        .map(|tenth| between(here, Position::new(0.0, f64::from(tenth) / 10.0).unwrap()))
        .collect();
    assert!(times.is_sorted());
}

/// Nodes are written `site` or `site/number`, with what is special about them; the decision as
/// the best one's name, then the others with their reasons.
#[track_caller]
fn check(input: &str, expected: &str) {
    let (input, names) = parse(input);
    let decision = input.dispatch();
    let name = |node: NodeId| names[&node].clone();
    let best = decision.best().map_or("?".to_owned(), |it| name(it.node));
    let passed = decision.passed();
    let passed = passed
        .iter()
        .map(|it| format!("{}: {}", name(it.node), it.why));
    let told: Vec<String> = std::iter::once(best).chain(passed).collect();
    assert_eq!(told.join(" | "), expected);
}

#[derive(Clone)]
struct Owned {
    session: SessionId,
    terminal: Terminal,
    need: Need,
    nodes: Vec<Node>,
    refused: BTreeMap<NodeId, String>,
}

impl Owned {
    fn dispatch(&self) -> Decision {
        dispatch(&DispatchInput {
            session: self.session,
            terminal: &self.terminal,
            need: &self.need,
            nodes: &self.nodes,
            refused: &self.refused,
        })
    }
}

fn parse(text: &str) -> (Owned, BTreeMap<NodeId, String>) {
    let mut input = Owned {
        session: SessionId(1),
        terminal: Terminal::default(),
        need: Need {
            resources: Resources {
                cpu_millis: 500,
                memory: Bytes::mb(512),
                encoders: 1,
            },
            latency_soft: Duration::from_millis(60),
            latency_hard: Duration::from_millis(400),
            sites: Vec::new(),
        },
        nodes: Vec::new(),
        refused: BTreeMap::new(),
    };
    let mut names = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
        match first {
            "at" => {
                let (place, network) = rest.split_once(" in ").unwrap_or((rest, ""));
                input.terminal.position = Some(position(place));
                input.terminal.network = network.parse().ok();
            }
            "rtt" => input.terminal.round_trips = rest.split(' ').map(measured).collect(),
            "need" => {
                let sites = rest.strip_prefix("sites=").unwrap();
                input.need.sites = sites.split(',').map(|it| it.parse().unwrap()).collect();
            }
            name => {
                let node = node(name, rest);
                if rest.contains("refused") {
                    input.refused.insert(node.id, "no display is left".into());
                }
                names.insert(node.id, name.to_owned());
                input.nodes.push(node);
            }
        }
    }
    (input, names)
}

fn node(name: &str, specials: &str) -> Node {
    let site = name.split('/').next().unwrap();
    let all = Resources {
        cpu_millis: 2_000,
        memory: Bytes::mb(4_000),
        encoders: 8,
    };
    let mut node = Node {
        id: node_id(name),
        site: site.parse().unwrap(),
        position: position(site),
        network: None,
        state: NodeState::Ready,
        capacity: all,
        free: all,
        cpu_load: 0.0,
        app: AppState::Ready { warm: 0 },
        price: 0.0,
        late_share: 0.0,
    };
    let mut words = specials.split(' ');
    while let Some(word) = words.next() {
        let (key, value) = word.split_once('=').unwrap_or((word, "0"));
        let number = || value.parse::<f64>().unwrap();
        match key {
            "" | "refused" => {}
            "in" => node.network = Some(words.next().unwrap().parse().unwrap()),
            "load" => node.cpu_load = number(),
            "late" => node.late_share = number(),
            "price" => node.price = number(),
            "memory" => node.free.memory = Bytes::mb(value.parse().unwrap()),
            "encoders" => node.free.encoders = value.parse().unwrap(),
            "free" => {
                let cores = Duration::from_secs_f64(number());
                node.free.cpu_millis = cores.as_millis().try_into().unwrap();
            }
            "warm" => node.app = AppState::Ready { warm: 1 },
            "nofiles" => node.app = AppState::FilesMissing,
            "norelease" => node.app = AppState::ReleaseMissing,
            "draining" => node.state = NodeState::Draining,
            "silent" => {
                node.state = NodeState::Silent(Duration::from_secs(value.parse().unwrap()));
            }
            other => panic!("what is {other}?"),
        }
    }
    node
}

/// `site=milliseconds` or `site=milliseconds@age in seconds`.
fn measured(text: &str) -> MeasuredRoundTrip {
    let (name, rest) = text.split_once('=').unwrap();
    let (ms, age) = rest.split_once('@').unwrap_or((rest, "1"));
    MeasuredRoundTrip {
        node: node_id(name),
        round_trip: Duration::from_millis(ms.parse().unwrap()),
        age: Duration::from_secs(age.parse().unwrap()),
    }
}

fn node_id(name: &str) -> NodeId {
    let mix = |sum: u64, byte: u8| sum.wrapping_mul(131).wrapping_add(byte.into());
    NodeId(name.bytes().fold(0, mix))
}

fn position(place: &str) -> Position {
    let (lat, lon) = match place {
        "berlin" => (52.52, 13.40),
        "frankfurt" => (50.11, 8.68),
        "warsaw" => (52.23, 21.01),
        "shanghai" => (31.23, 121.47),
        "tokyo" => (35.68, 139.69),
        "sao-paulo" => (-23.55, -46.63),
        other => panic!("where is {other}?"),
    };
    Position::new(lat, lon).unwrap()
}
