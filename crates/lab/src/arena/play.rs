//! Who is where when: a move for each team that ends where it began.
//!
//! The script says who touches the ball when. Everybody else keeps their place in a formation that
//! follows the ball, the nearest opponent presses. All of it is smoothed around the loop, so the
//! last moment leads into the first.

use std::f32::consts::TAU;

use super::stadium::{HALF_LENGTH, HALF_WIDTH};
use super::vector::{Vector, mix, smooth};

/// The length of the script; a loop of another length plays it faster or slower.
pub(super) const SCRIPT_SECS: f32 = 24.0;
/// Moments worked out; what lies between is interpolated.
const STEPS: usize = 720;
const STEP: f32 = SCRIPT_SECS / STEPS as f32;
pub(super) const BALL_RADIUS: f32 = 0.125;
pub(super) const PLAYERS: usize = 12;
pub(super) const REFEREE: usize = PLAYERS;
/// The players, six to a team and each team's keeper first, and the referee.
const FIGURES: usize = PLAYERS + 1;
const TEAM: usize = 6;
/// People keep this far from each other, in metres.
const ELBOW_ROOM: f32 = 0.85;

/// Somebody has the ball from one time and place to another, and passes it on.
struct Touch {
    player: usize,
    from: (f32, f32, f32),
    to: (f32, f32, f32),
    /// How high the pass rises over the straight line, in metres.
    lob: f32,
    /// To which side the keeper throws himself: 0 not at all, else +y or -y.
    dive: f32,
}

const fn touch(
    player: usize,
    from: (f32, f32, f32),
    to: (f32, f32, f32),
    lob: f32,
    dive: f32,
) -> Touch {
    Touch {
        player,
        from,
        to,
        lob,
        dive,
    }
}

/// Time in seconds, then x and y in metres.
const SCRIPT: [Touch; 12] = [
    touch(1, (2.1, -12.5, -7.0), (3.2, -9.5, -8.0), 0.0, 0.0),
    touch(3, (4.2, -3.0, -3.5), (5.3, 0.5, -2.0), 0.3, 0.0),
    touch(4, (6.5, 4.0, 7.5), (8.0, 10.5, 9.0), 2.6, 0.0),
    touch(5, (9.3, 12.5, -1.5), (10.0, 14.0, -1.0), 0.5, 0.0),
    touch(6, (10.65, 19.9, 0.5), (13.0, 17.5, 1.0), 1.6, 1.0),
    touch(8, (14.3, 11.5, 7.0), (15.4, 7.5, 7.5), 0.0, 0.0),
    touch(9, (16.4, 1.0, 2.5), (17.3, -2.0, 1.0), 0.4, 0.0),
    touch(10, (18.4, -6.5, -8.0), (19.6, -12.0, -9.0), 2.8, 0.0),
    touch(11, (20.7, -13.5, 1.5), (21.2, -14.5, 1.2), 0.6, 0.0),
    touch(0, (21.85, -20.0, -0.5), (24.8, -17.5, -0.6), 1.2, -1.0),
    // The keeper's throw crosses the end of the loop; these two only make the round complete.
    touch(1, (26.1, -12.5, -7.0), (27.2, -9.5, -8.0), 0.0, 0.0),
    touch(3, (28.2, -3.0, -3.5), (29.3, 0.5, -2.0), 0.3, 0.0),
];
/// Of the script, what happens once.
const ROUND: usize = 10;

const HOMES: [(f32, f32); TEAM] = [
    (-19.6, 0.0),
    (-11.5, -5.5),
    (-11.0, 5.0),
    (-3.5, -1.5),
    (2.0, 7.5),
    (7.5, -3.5),
];

/// A person at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figure {
    /// On the ground.
    pub(super) place: Vector,
    /// Where the chest points; length 1, level.
    pub(super) heading: Vector,
    /// Metres a second.
    pub(super) speed: f32,
    /// Of running, in radians: a stride is a whole turn.
    pub(super) stride: f32,
    /// The kicking leg: -1 back, 1 through the ball.
    pub(super) kick: f32,
    /// How much he lies in the air, to his left (below 0) or right.
    pub(super) dive: f32,
    /// How much he holds a ball before his chest.
    pub(super) carry: f32,
}

/// Everything that moves, at a moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Players in the order of their teams, then the referee.
    pub(super) figures: Vec<Figure>,
    pub(super) ball: Vector,
    /// Across the way the ball rolls, and how far it has turned, in radians.
    pub(super) spin: (Vector, f32),
}

/// The whole match.
#[derive(Debug)]
pub(super) struct Play {
    /// By figure, then by step.
    figures: Vec<Vec<Figure>>,
}

impl Play {
    pub(super) fn new() -> Self {
        let ball: Vec<Vector> = (0..STEPS).map(|it| planned_ball(time(it))).collect();
        let mean = around(&ball, 0.9);
        let mut paths: Vec<Vec<Vector>> = (0..FIGURES)
            .map(|who| {
                let wanted = |step: usize| wish(who, time(step), ball[step], mean[step]);
                let wishes: Vec<Vector> = (0..STEPS).map(wanted).collect();
                around(&wishes, 0.42)
            })
            .collect();
        (0..STEPS).for_each(|step| part(&mut paths, step));
        let figures = paths.iter().enumerate();
        Self {
            figures: figures
                .map(|(who, path)| animate(who, path, &mean))
                .collect(),
        }
    }

    /// What is at a share of the loop, 0 to 1.
    pub(super) fn at(&self, share: f32) -> Moment {
        let seconds = share.rem_euclid(1.0) * SCRIPT_SECS;
        let figures = (0..FIGURES).map(|who| self.figure(who, seconds)).collect();
        let (ball, spin) = self.ball(seconds);
        Moment {
            figures,
            ball,
            spin,
        }
    }

    fn figure(&self, who: usize, seconds: f32) -> Figure {
        let step = seconds.rem_euclid(SCRIPT_SECS) / STEP;
        let (first, share) = (step as usize % STEPS, step.fract());
        let track = &self.figures[who];
        let (from, mut to) = (track[first], track[(first + 1) % STEPS]);
        if to.stride < from.stride {
            to.stride += TAU * ((from.stride - to.stride) / TAU).ceil();
        }
        Figure {
            place: from.place.toward(to.place, share),
            heading: from.heading.toward(to.heading, share).unit(),
            speed: mix(from.speed, to.speed, share),
            stride: mix(from.stride, to.stride, share),
            kick: mix(from.kick, to.kick, share),
            dive: mix(from.dive, to.dive, share),
            carry: mix(from.carry, to.carry, share),
        }
    }

    /// Where the ball is, and how it turns.
    fn ball(&self, seconds: f32) -> (Vector, (Vector, f32)) {
        let (touch, flight) = touch_at(seconds);
        let seconds = in_script(seconds);
        let Some(next) = flight else {
            let place = self.held(touch, seconds);
            let way = (seconds - touch.from.0) * self.figure(touch.player, seconds).speed;
            let heading = self.figure(touch.player, seconds).heading;
            let turn = if is_keeper(touch.player) {
                0.0
            } else {
                way / BALL_RADIUS
            };
            return (place, (heading.cross(Vector::UP), turn));
        };
        let (start, end) = (self.held(touch, touch.to.0), self.held(next, next.from.0));
        let share = (seconds - touch.to.0) / (next.from.0 - touch.to.0);
        // It starts faster than it arrives.
        let way = share * (1.3 - 0.3 * share);
        let mut place = start.toward(end, way);
        let bounces = (share * 3.0 * std::f32::consts::PI).sin().abs() * (1.0 - share);
        place.z += match touch.lob > 0.35 {
            true => touch.lob * 4.0 * share * (1.0 - share),
            false => 0.05 * bounces + touch.lob * bounces,
        };
        let across = (end - start).flat().unit().cross(Vector::UP);
        (
            place,
            (across, (end - start).length() * way / BALL_RADIUS * 0.6),
        )
    }

    /// Where the ball is while somebody has it.
    fn held(&self, touch: &Touch, seconds: f32) -> Vector {
        let figure = self.figure(touch.player, seconds);
        if !is_keeper(touch.player) {
            let before = 0.52 + 0.16 * figure.stride.sin() * smooth(0.5, 3.0, figure.speed);
            return figure.place + figure.heading * before + Vector::UP * BALL_RADIUS;
        }
        let right = figure.heading.cross(Vector::UP);
        figure.place
            + figure.heading * mix(0.34, 0.28, figure.dive.abs())
            + right * (figure.dive * 1.15)
            + Vector::UP * mix(1.14, 0.66, figure.dive.abs())
    }
}

const fn is_keeper(who: usize) -> bool {
    who.is_multiple_of(TEAM) && who < PLAYERS
}

fn time(step: usize) -> f32 {
    step as f32 * STEP
}

/// The same moment of the loop, but not before the first touch.
fn in_script(seconds: f32) -> f32 {
    let start = SCRIPT[0].from.0;
    (seconds - start).rem_euclid(SCRIPT_SECS) + start
}

/// Who has the ball, or who had it last and, while it flies, who gets it next.
fn touch_at(seconds: f32) -> (&'static Touch, Option<&'static Touch>) {
    let seconds = in_script(seconds);
    let last = SCRIPT[..ROUND].iter().rposition(|it| it.from.0 <= seconds);
    let index = last.unwrap_or(0);
    let flies = seconds > SCRIPT[index].to.0;
    (&SCRIPT[index], flies.then(|| &SCRIPT[index + 1]))
}

/// The ball as the script has it, on the ground.
fn planned_ball(seconds: f32) -> Vector {
    let (touch, flight) = touch_at(seconds);
    let seconds = in_script(seconds);
    let (from, to) = match flight {
        Some(next) => (touch.to, next.from),
        None => (touch.from, touch.to),
    };
    let share = (seconds - from.0) / (to.0 - from.0);
    Vector::new(mix(from.1, to.1, share), mix(from.2, to.2, share), 0.0)
}

/// Where somebody wants to be.
fn wish(who: usize, seconds: f32, ball: Vector, mean: Vector) -> Vector {
    let turn = seconds / SCRIPT_SECS * TAU;
    let own = who as f32 * 2.4;
    let wander = Vector::new(
        0.7 * (2.0 * turn + own).sin() + 0.4 * (5.0 * turn + own * 3.0).sin(),
        0.7 * (3.0 * turn + own * 2.0).cos() + 0.3 * (7.0 * turn + own).cos(),
        0.0,
    );
    if who == REFEREE {
        let place = Vector::new(mean.x * 0.75 - 1.5, mean.y * 0.45 + 4.2, 0.0);
        return place + wander * 0.5;
    }
    let side = if who < TEAM { 1.0 } else { -1.0 };
    let (x, y) = HOMES[who % TEAM];
    let home = Vector::new(x * side, y * side, 0.0);
    let mut place = if is_keeper(who) {
        let forward = mix(0.0, 2.2, smooth(0.0, 30.0, mean.x * side + 20.0));
        home + Vector::new(forward * side, (mean.y * 0.16).clamp(-1.4, 1.4), 0.0) + wander * 0.15
    } else {
        let shift = Vector::new(mean.x * 0.42 + side, mean.y * 0.30, 0.0);
        let goal = Vector::new(-HALF_LENGTH * side, 0.0, 0.0);
        let press = ball + (goal - ball).unit() * 1.7;
        let free = home + shift + wander;
        let off = free - ball;
        let has_ball = (touch_at(seconds).0.player < TEAM) == (who < TEAM);
        let eager = if has_ball {
            0.0
        } else {
            0.72 * (-off.dot(off) / 55.0).exp()
        };
        free.toward(press, eager)
    };
    place.x = place.x.clamp(-HALF_LENGTH + 0.5, HALF_LENGTH - 0.5);
    place.y = place.y.clamp(-HALF_WIDTH + 0.5, HALF_WIDTH - 0.5);
    let (planned, certain) = own_touch(who, seconds);
    place.toward(planned, certain)
}

/// Where the script wants somebody, and how much it insists.
fn own_touch(who: usize, seconds: f32) -> (Vector, f32) {
    let mut best = (Vector::ZERO, 0.0);
    for touch in SCRIPT[..ROUND].iter().filter(|it| it.player == who) {
        let middle = f32::midpoint(touch.from.0, touch.to.0);
        let half = (touch.to.0 - touch.from.0) / 2.0;
        let off =
            (seconds - middle + SCRIPT_SECS / 2.0).rem_euclid(SCRIPT_SECS) - SCRIPT_SECS / 2.0;
        // Before the ball comes one runs toward it, afterwards one falls back.
        let certain = 1.0 - smooth(half, half + 2.6, off.abs());
        let share = ((off + half) / (2.0 * half)).clamp(-0.8, 1.3);
        let place = Vector::new(
            mix(touch.from.1, touch.to.1, share),
            mix(touch.from.2, touch.to.2, share),
            0.0,
        );
        if certain > best.1 {
            best = (place, certain);
        }
    }
    best
}

/// Smooths around the loop, over about so many seconds.
fn around(values: &[Vector], seconds: f32) -> Vec<Vector> {
    let reach = (seconds * 3.0 / STEP) as usize;
    let weights: Vec<f32> = (0..=2 * reach)
        .map(|it| (it as f32 - reach as f32) * STEP / seconds)
        .map(|it| (-it * it / 2.0).exp())
        .collect();
    let total: f32 = weights.iter().sum();
    (0..values.len())
        .map(|step| {
            let from = step + values.len() - reach % values.len();
            let near = weights.iter().enumerate();
            near.fold(Vector::ZERO, |sum, (offset, weight)| {
                sum + values[(from + offset) % values.len()] * (weight / total)
            })
        })
        .collect()
}

/// Nobody stands in anybody.
fn part(paths: &mut [Vec<Vector>], step: usize) {
    for one in 0..paths.len() {
        for other in one + 1..paths.len() {
            let apart = paths[other][step] - paths[one][step];
            let distance = apart.length();
            // Softly, so that nobody is pushed from one moment to the next.
            let push = (ELBOW_ROOM * 1.6 - distance).max(0.0) * 0.5;
            let push = apart.unit() * (push * push / ELBOW_ROOM);
            paths[one][step] = paths[one][step] - push;
            paths[other][step] = paths[other][step] + push;
        }
    }
}

/// How somebody moves along a path.
fn animate(who: usize, path: &[Vector], ball: &[Vector]) -> Vec<Figure> {
    let next = |step: usize| path[(step + 1) % STEPS];
    let before = |step: usize| path[(step + STEPS - 1) % STEPS];
    let velocity = |step: usize| (next(step) - before(step)) * (0.5 / STEP);
    let headings = headings((0..STEPS).map(|step| {
        let to_ball = (ball[step] - path[step]).flat().unit();
        velocity(step) * 0.5 + to_ball * 0.8
    }));

    let turns: Vec<f32> = (0..STEPS)
        .map(|step| {
            let speed = velocity(step).length();
            TAU * speed * STEP / (1.05 + 0.34 * speed)
        })
        .collect();
    // A whole number of strides makes the loop close.
    let total: f32 = turns.iter().sum();
    let factor = (total / TAU).round().max(1.0) * TAU / total;
    let mut stride = who as f32;
    (0..STEPS)
        .map(|step| {
            stride += turns[step] * factor;
            let seconds = time(step);
            let (kick, dive, carry) = gestures(who, seconds);
            let heading = headings[step];
            let right = heading.cross(Vector::UP);
            Figure {
                place: path[step].flat(),
                heading,
                speed: velocity(step).length(),
                stride,
                kick,
                dive: dive * right.y.signum(),
                carry,
            }
        })
        .collect()
}

/// Smooths directions by their angles: opposite ones have no sum to smooth.
fn headings(wanted: impl Iterator<Item = Vector>) -> Vec<Vector> {
    let mut last = 0.0;
    let angles: Vec<f32> = wanted
        .map(|it| {
            let angle = it.y.atan2(it.x);
            last = angle + TAU * ((last - angle) / TAU).round();
            last
        })
        .collect();
    // Who turned all around on the way starts the next loop as many whole turns later.
    let whole = ((last - angles[0]) / TAU).round() * TAU;
    let steady = |step: usize| whole * step as f32 / STEPS as f32;
    let level: Vec<Vector> = (0..STEPS)
        .map(|step| Vector::new(angles[step] - steady(step), 0.0, 0.0))
        .collect();
    let smoothed = around(&level, 0.28);
    (0..STEPS)
        .map(|step| smoothed[step].x + steady(step))
        .map(|angle| Vector::new(angle.cos(), angle.sin(), 0.0))
        .collect()
}

/// Kick, dive toward +y, and carry.
fn gestures(who: usize, seconds: f32) -> (f32, f32, f32) {
    let (mut kick, mut dive, mut carry) = (0.0_f32, 0.0_f32, 0.0_f32);
    let hill = |at: f32, wide: f32| (-(at / wide) * (at / wide)).exp();
    for touch in SCRIPT[..ROUND].iter().filter(|it| it.player == who) {
        for round in [-SCRIPT_SECS, 0.0, SCRIPT_SECS] {
            let (from, to) = (touch.from.0 + round, touch.to.0 + round);
            if is_keeper(who) {
                let up = smooth(from - 0.55, from - 0.1, seconds);
                let down = smooth(from + 0.35, from + 1.25, seconds);
                dive += touch.dive * (up - down).max(0.0);
                let takes = smooth(from - 0.5, from, seconds);
                carry += (takes - smooth(to - 0.05, to + 0.3, seconds)).max(0.0);
            } else {
                let off = seconds - to;
                kick += hill(off - 0.10, 0.14) - 0.9 * hill(off + 0.19, 0.10);
            }
        }
    }
    (kick, dive, carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_runs_faster_than_people_do_and_the_loop_closes() {
        let play = Play::new();
        let frames = 720;
        for frame in 0..frames {
            let here = play.at(frame as f32 / frames as f32);
            let next = play.at((frame + 1) as f32 / frames as f32);
            for (who, (one, other)) in here.figures.iter().zip(&next.figures).enumerate() {
                let speed = (other.place - one.place).length() * 30.0;
                assert!(speed < 8.5, "{who} runs {speed} m/s at frame {frame}");
                let turn = one.heading.dot(other.heading);
                assert!(
                    turn > 0.93,
                    "{who} turns on the spot at frame {frame}: {turn}"
                );
            }
            let way = (next.ball - here.ball).length() * 30.0;
            assert!(way < 30.0, "the ball goes {way} m/s at frame {frame}");
            assert!(
                here.ball.z >= BALL_RADIUS - 0.02,
                "under the grass at {frame}"
            );
        }
    }

    #[test]
    fn people_keep_apart() {
        let play = Play::new();
        for frame in 0..240 {
            let figures = play.at(frame as f32 / 240.0).figures;
            for (one, a) in figures.iter().enumerate() {
                for (other, b) in figures.iter().enumerate().skip(one + 1) {
                    let apart = (a.place - b.place).length();
                    assert!(apart > 0.35, "{one} and {other} at {frame}: {apart} m");
                }
            }
        }
    }
}
