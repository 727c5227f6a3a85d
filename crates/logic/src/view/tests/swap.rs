use super::*;

/// Runs a script, as in `0 wish a/low; 30 frame a/low 1000; 2100 wait`, and says what was done.
fn run(script: &str) -> String {
    let start = start();
    let mut swap = Swap::new(start);
    let mut done = Vec::new();
    for line in script.split(';') {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = start + ms(words[0].parse().unwrap());
        match words[1] {
            "wish" => swap.handle_wish(&wish(&words[2..]), now),
            "frame" => swap.handle_frame(&feed(words[2]), ms(words[3].parse().unwrap()), now),
            "wait" => swap.handle_timeout(now),
            other => panic!("{other} is no event"),
        }
        while let Some(action) = swap.poll_action() {
            done.push(action_words(&action));
        }
    }
    done.join(" ")
}

fn wish(words: &[&str]) -> Wish {
    let mut wish = Wish::default();
    for word in words {
        match word.strip_prefix('+') {
            Some(warm) => wish.warm.push(feed(warm)),
            None => wish.view = Some(feed(word)),
        }
    }
    wish
}

fn action_words(action: &Action) -> String {
    match action {
        Action::Subscribe(feed) => format!("+{}", words(feed)),
        Action::Show { feed, waited } => format!("={}@{}", words(feed), waited.as_millis()),
        Action::Unsubscribe(feed) => format!("-{}", words(feed)),
        Action::GaveUp(feed) => format!("!{}", words(feed)),
    }
}

#[test]
fn the_first_view_is_seen_as_soon_as_it_comes() {
    assert_eq!(run("0 wish a/low; 80 frame a/low 1000"), "+a/low =a/low@80");
}

const SEEN: &str = "0 wish a/low; 50 frame a/low 1000";

#[test]
fn the_new_view_is_seen_once_it_has_caught_up() {
    assert_eq!(
        run(&format!(
            "{SEEN}; 100 wish b/low; 110 frame a/low 1067; 140 frame b/low 700; 150 frame b/low 1034; 155 frame b/low 1067"
        )),
        "+a/low =a/low@50 +b/low =b/low@55 -a/low"
    );
}

#[test]
fn a_warm_view_is_seen_at_once() {
    assert_eq!(
        run(&format!(
            "{SEEN}; 60 wish a/low +b/low; 90 frame b/low 1000; 100 frame a/low 1033; 110 frame b/low 1033; 200 wish b/low +c/low"
        )),
        "+a/low =a/low@50 +b/low =b/low@0 -a/low +c/low"
    );
}

#[test]
fn a_view_that_stays_behind_is_taken_in_the_end() {
    // 100 ms behind for ever: accepted when a quarter of the wait and half a frame are that much.
    let frames: String = (4..40)
        .map(|it| {
            let (at, time) = (it * 33, 1_000 + it * 33);
            format!("; {at} frame a/low {time}; {at} frame b/low {}", time - 100)
        })
        .collect();
    let done = run(&format!("{SEEN}; 100 wish b/low{frames}"));
    assert_eq!(done, "+a/low =a/low@50 +b/low =b/low@362 -a/low");
}

#[test]
fn what_never_comes_is_given_up_and_the_old_one_stays() {
    assert_eq!(
        run(&format!(
            "{SEEN}; 100 wish b/low; 2099 wait; 2100 frame a/low 3000; 2100 wait"
        )),
        "+a/low =a/low@50 +b/low !b/low"
    );
}

#[test]
fn what_stopped_is_not_waited_for() {
    assert_eq!(
        run(&format!(
            "{SEEN}; 200 wish b/low; 220 frame b/low 500; 349 wait; 350 wait"
        )),
        "+a/low =a/low@50 +b/low =b/low@150 -a/low"
    );
}

#[test]
fn a_new_wish_on_the_way_replaces_the_old_one() {
    assert_eq!(
        run(&format!(
            "{SEEN}; 100 wish b/low; 150 wish c/low; 200 frame c/low 1000; 210 frame b/low 1000"
        )),
        "+a/low =a/low@50 +b/low -b/low +c/low =c/low@50 -a/low"
    );
    assert_eq!(
        run(&format!(
            "{SEEN}; 100 wish b/low; 150 wish a/low; 160 frame b/low 1500"
        )),
        "+a/low =a/low@50 +b/low -b/low"
    );
}

#[test]
fn without_a_wish_what_is_seen_stays() {
    assert_eq!(
        run(&format!("{SEEN}; 100 wish; 150 frame a/low 1100")),
        "+a/low =a/low@50"
    );
}

/// Whatever is wished and comes: what is seen is received, and there is never too much.
#[test]
fn once_something_is_seen_something_is_always_seen() {
    let feeds = ["a/low", "a/high", "b/low", "b/high", "c/low", "d/low"];
    for seed in 1..=300 {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed);
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from((random >> 16) % below as u64).unwrap()
        };
        let start = start();
        let mut swap = Swap::new(start);
        let (mut received, mut shown, mut now) = (Vec::new(), None, start);
        for _ in 0..300 {
            now += ms(next(40) as u64);
            match next(4) {
                0 => {
                    let mut wish = wish(&[feeds[next(6)]]);
                    wish.warm = (0..next(3)).map(|_| feed(feeds[next(6)])).collect();
                    swap.handle_wish(&wish, now);
                }
                1 => swap.handle_timeout(now),
                _ => swap.handle_frame(
                    &feed(feeds[next(6)]),
                    (now - start) + ms(next(300) as u64),
                    now,
                ),
            }
            while let Some(action) = swap.poll_action() {
                match action {
                    Action::Subscribe(feed) => {
                        assert!(!received.contains(&feed));
                        received.push(feed);
                    }
                    Action::Show { feed, .. } => {
                        assert!(received.contains(&feed));
                        shown = Some(feed);
                    }
                    Action::Unsubscribe(feed) | Action::GaveUp(feed) => {
                        assert!(received.contains(&feed));
                        received.retain(|it| *it != feed);
                    }
                }
            }
            assert!(received.len() <= 4);
            assert!(shown.iter().all(|it| received.contains(it)), "seed {seed}");
            assert_eq!(shown.as_ref(), swap.shown());
        }
        assert!(shown.is_some());
    }
}
