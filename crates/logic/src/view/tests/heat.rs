use super::*;
use std::collections::BTreeMap;

fn watched(viewers: &[(&str, u32)]) -> BTreeMap<CameraName, u32> {
    viewers.iter().map(|it| (name(it.0), it.1)).collect()
}

fn names(cameras: &[CameraName]) -> Vec<&str> {
    cameras.iter().map(CameraName::as_str).collect()
}

#[test]
fn many_viewers_make_the_neighbours_hot() {
    let mut heat = Heat::new(&twelve(), start());
    assert_eq!(heat.hot(&watched(&[("c0", 3)]), 4), []);
    let hot = heat.hot(&watched(&[("c0", 10)]), 4);
    assert_eq!(names(&hot), ["c30", "c330"]);
    assert_eq!(heat.hot(&watched(&[("c0", 10)]), 1).len(), 1);
}

#[test]
fn where_viewers_went_others_will_go_until_it_is_forgotten() {
    let now = start();
    let mut heat = Heat::new(&twelve(), now);
    for it in 0..8 {
        heat.handle_switch(&name("c0"), &name("c180"), now + ms(it));
    }
    assert_eq!(names(&heat.hot(&watched(&[("c0", 1)]), 4)), ["c180"]);
    assert_eq!(heat.hot(&watched(&[("c90", 1)]), 4), [], "nobody is at c0");
    assert_eq!(
        heat.hot(&watched(&[("c0", 1), ("c180", 1)]), 4),
        [],
        "it is received anyway"
    );
    // Halved three times: 1 is still hot, then it cools.
    heat.handle_timeout(now + Duration::from_secs(181));
    assert_eq!(names(&heat.hot(&watched(&[("c0", 1)]), 4)), ["c180"]);
    heat.handle_timeout(now + Duration::from_secs(241));
    assert_eq!(names(&heat.hot(&watched(&[("c0", 1)]), 4)), ["c180"]);
    heat.handle_timeout(now + Duration::from_secs(301));
    assert_eq!(heat.hot(&watched(&[("c0", 1)]), 4), []);
    assert!(heat.poll_timeout().is_some());
    heat.handle_timeout(now + Duration::from_secs(3_600));
    assert_eq!(heat.poll_timeout(), None);
}

#[test]
fn strangers_and_floods_are_bounded() {
    let now = start();
    let mut seats = twelve();
    seats.extend((0..52).map(|it| Seat {
        camera: name(&format!("x{it}")),
        bearing: Angle::degrees(f64::from(it)),
    }));
    let mut heat = Heat::new(&seats, now);
    for a in &seats {
        for b in &seats {
            heat.handle_switch(&a.camera, &b.camera, now);
            heat.handle_switch(&a.camera, &name("stranger"), now);
        }
    }
    heat.handle_switch(&name("c0"), &name("c90"), now);
    heat.handle_switch(&name("c0"), &name("c90"), now);
    assert!(heat.hot(&watched(&[("c0", 1)]), 64).contains(&name("c90")));
    assert!(heat.hot(&watched(&[("c0", 1_000)]), 5).len() <= 5);
}
