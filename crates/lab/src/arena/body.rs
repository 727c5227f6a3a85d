//! People of round parts, and how their joints bend when they run, kick and dive.

use super::picture::Colour;
use super::play::{BALL_RADIUS, Figure, Moment, PLAYERS, REFEREE};
use super::shadow::Caster;
use super::solid::{Paint, Pattern, Solid};
use super::vector::{Vector, mix, smooth};

const THIGH: f32 = 0.44;
const SHANK: f32 = 0.43;
const SOLE: f32 = 0.07;
const UPPER_ARM: f32 = 0.29;
const FOREARM: f32 = 0.27;

/// What somebody wears.
#[derive(Clone, Copy, Debug)]
struct Kit {
    shirt: Paint,
    sleeve: Colour,
    shorts: Colour,
    socks: Colour,
    boots: Colour,
    skin: Colour,
    hair: Colour,
    gloves: Option<Colour>,
}

const SKINS: [Colour; 4] = [
    [0.95, 0.77, 0.64],
    [0.83, 0.62, 0.47],
    [0.56, 0.38, 0.27],
    [0.42, 0.28, 0.20],
];
const HAIRS: [Colour; 5] = [
    [0.14, 0.10, 0.08],
    [0.42, 0.28, 0.14],
    [0.08, 0.07, 0.07],
    [0.72, 0.58, 0.30],
    [0.30, 0.18, 0.10],
];
const NUMBERS: [u8; PLAYERS] = [1, 2, 4, 6, 7, 9, 1, 3, 5, 8, 7, 9];

fn kit(who: usize) -> Kit {
    let number = NUMBERS.get(who).copied().unwrap_or(0);
    let cloth = |base, second, pattern| Paint::Shirt {
        base,
        second,
        pattern,
        number,
    };
    let white = [0.95, 0.95, 0.95];
    let (shirt, sleeve, shorts, socks) = match who {
        0 => (
            cloth([0.98, 0.76, 0.10], white, Pattern::None),
            [0.98, 0.76, 0.10],
            [0.12; 3],
            [0.98, 0.76, 0.10],
        ),
        6 => (
            cloth([0.30, 0.86, 0.42], white, Pattern::None),
            [0.30, 0.86, 0.42],
            [0.12; 3],
            [0.30, 0.86, 0.42],
        ),
        REFEREE => (
            cloth([0.13, 0.13, 0.16], white, Pattern::None),
            [0.95, 0.45, 0.10],
            [0.11; 3],
            [0.14; 3],
        ),
        1..=5 => (
            cloth([0.90, 0.12, 0.14], [0.66, 0.05, 0.09], Pattern::Band),
            white,
            white,
            [0.86, 0.12, 0.14],
        ),
        _ => (
            cloth([0.16, 0.40, 0.92], white, Pattern::Stripes),
            [0.16, 0.40, 0.92],
            [0.10, 0.16, 0.40],
            white,
        ),
    };
    Kit {
        shirt,
        sleeve,
        shorts,
        socks,
        boots: [[0.10; 3], [0.95, 0.55, 0.10], [0.92; 3], [0.55, 0.95, 0.20]][who * 5 % 4],
        skin: SKINS[who * 7 % 4],
        hair: HAIRS[who * 3 % 5],
        gloves: who.is_multiple_of(6).then_some([0.92, 0.92, 0.90]),
    }
}

/// The solids of somebody, and what stands in the light.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) solids: Vec<Solid>,
    pub(super) casters: Vec<Caster>,
}

/// Where somebody's parts lie: trunk and directions of his own.
struct Frame {
    hip: Vector,
    right: Vector,
    forward: Vector,
    /// Along the trunk, and along the legs: he leans only above the hip.
    spine: Vector,
    upright: Vector,
}

/// The angles of one side of somebody, in radians; forward is more.
struct Side {
    sign: f32,
    thigh: f32,
    knee: f32,
    arm: f32,
    elbow: f32,
    splay: f32,
}

impl Body {
    /// A person of the match, by number in [`Moment::figures`].
    pub(super) fn person(who: usize, figure: &Figure) -> Self {
        let kit = kit(who);
        let sides = [side(figure, -1.0), side(figure, 1.0)];
        let frame = frame(figure, &sides);
        let mut body = Self::default();
        body.trunk(&frame, &kit);
        for side in &sides {
            body.leg(&frame, side, &kit);
            body.arm(&frame, side, &kit);
        }
        body
    }

    /// The ball.
    pub(super) fn ball(moment: &Moment) -> Self {
        let (across, turn) = moment.spin;
        let across = if across.length() < 0.5 {
            Vector::new(1.0, 0.0, 0.0)
        } else {
            across
        };
        let level = Vector::UP.cross(across);
        let front = level * turn.cos() - Vector::UP * turn.sin();
        let top = level * turn.sin() + Vector::UP * turn.cos();
        let solid = Solid::ellipsoid(
            moment.ball,
            [across, front, top],
            [BALL_RADIUS; 3],
            Paint::Ball,
        );
        let caster = Caster {
            from: moment.ball,
            to: moment.ball,
            radius: BALL_RADIUS * 0.9,
        };
        Self {
            solids: vec![solid],
            casters: vec![caster],
        }
    }

    fn trunk(&mut self, frame: &Frame, kit: &Kit) {
        let axes = [
            frame.right,
            frame.right.cross(frame.spine) * -1.0,
            frame.spine,
        ];
        let at = |up: f32, front: f32| frame.hip + frame.spine * up + axes[1] * front;
        let shorts = Paint::Plain(kit.shorts);
        self.solids.push(Solid::ellipsoid(
            at(0.02, 0.0),
            axes,
            [0.185, 0.135, 0.15],
            shorts,
        ));
        let (waist, chest) = (at(0.08, 0.0), at(0.46, 0.0));
        self.solids.push(Solid::flat_tube(
            waist,
            chest,
            frame.right,
            (0.165, 0.215),
            0.62,
            kit.shirt,
        ));
        let shoulders = match kit.shirt {
            Paint::Shirt {
                base,
                second,
                pattern,
                ..
            } => Paint::Shirt {
                base,
                second,
                pattern: if pattern == Pattern::Band {
                    Pattern::None
                } else {
                    pattern
                },
                number: 0,
            },
            other => other,
        };
        self.solids.push(Solid::ellipsoid(
            at(0.46, 0.0),
            axes,
            [0.215, 0.133, 0.085],
            shoulders,
        ));
        let skin = Paint::Plain(kit.skin);
        self.solids.push(Solid::tube(
            at(0.50, 0.0),
            at(0.62, 0.02),
            (0.062, 0.055),
            skin,
        ));
        self.solids.push(Solid::ellipsoid(
            at(0.70, 0.025),
            axes,
            [0.095, 0.112, 0.13],
            skin,
        ));
        let crown = (frame.spine * 0.82 - axes[1] * 0.57).unit();
        let hair_axes = [frame.right, frame.right.cross(crown) * -1.0, crown];
        let hair = Solid::ellipsoid(
            at(0.71, 0.015),
            hair_axes,
            [0.105, 0.125, 0.13],
            Paint::Plain(kit.hair),
        );
        self.solids.push(hair.cut(0.12, 1.0));
        self.cast(at(0.0, 0.0), at(0.45, 0.0), 0.165);
        self.cast(at(0.55, 0.0), at(0.73, 0.0), 0.10);
    }

    fn leg(&mut self, frame: &Frame, side: &Side, kit: &Kit) {
        let (joint, knee, ankle) = frame.leg(side);
        let skin = Paint::Plain(kit.skin);
        let shorts = Paint::Plain(kit.shorts);
        let socks = Paint::Plain(kit.socks);
        let hem = joint.toward(knee, 0.66);
        self.solids.push(Solid::ball(joint, 0.115, shorts));
        self.solids
            .push(Solid::tube(joint, hem, (0.115, 0.112), shorts));
        self.solids.push(Solid::tube(
            joint.toward(knee, 0.5),
            knee,
            (0.088, 0.062),
            skin,
        ));
        self.solids.push(Solid::ball(knee, 0.063, skin));
        let top = knee.toward(ankle, 0.16);
        let calf = knee.toward(ankle, 0.42);
        self.solids
            .push(Solid::tube(knee, top, (0.061, 0.061), skin));
        self.solids
            .push(Solid::tube(top, calf, (0.063, 0.069), socks));
        self.solids
            .push(Solid::tube(calf, ankle, (0.069, 0.044), socks));
        self.solids.push(Solid::ball(ankle, 0.046, socks));
        let shin = (knee - ankle).unit();
        let toe = (frame.forward - shin * frame.forward.dot(shin) * 0.7).unit();
        let top = frame.right.cross(toe);
        self.solids.push(Solid::ellipsoid(
            ankle + toe * 0.075 - top * 0.025,
            [frame.right, toe, top],
            [0.05, 0.14, 0.05],
            Paint::Plain(kit.boots),
        ));
        self.cast(joint, knee, 0.095);
        self.cast(knee, ankle, 0.06);
        self.cast(ankle, ankle + toe * 0.14, 0.045);
    }

    fn arm(&mut self, frame: &Frame, side: &Side, kit: &Kit) {
        let out = frame.right * side.sign;
        let front = frame.spine.cross(frame.right);
        let shoulder = frame.hip + frame.spine * 0.455 + out * 0.205;
        let swing = |angle: f32, splay: f32| {
            let level = front * angle.sin() - frame.spine * angle.cos();
            (level * splay.cos() + out * splay.sin()).unit()
        };
        let elbow = shoulder + swing(side.arm, side.splay) * UPPER_ARM;
        let bent = side.arm + side.elbow;
        let hand = elbow + swing(bent, side.splay * 0.5 - side.elbow * 0.15) * FOREARM;
        let skin = Paint::Plain(kit.skin);
        let sleeve = Paint::Plain(kit.sleeve);
        let cuff = shoulder.toward(elbow, 0.70);
        self.solids.push(Solid::ball(shoulder, 0.074, sleeve));
        self.solids
            .push(Solid::tube(shoulder, cuff, (0.072, 0.068), sleeve));
        self.solids.push(Solid::tube(
            shoulder.toward(elbow, 0.5),
            elbow,
            (0.05, 0.044),
            skin,
        ));
        self.solids.push(Solid::ball(elbow, 0.045, skin));
        self.solids
            .push(Solid::tube(elbow, hand, (0.045, 0.036), skin));
        let (glove, radius) = kit.gloves.map_or((kit.skin, 0.05), |it| (it, 0.075));
        self.solids
            .push(Solid::ball(hand, radius, Paint::Plain(glove)));
        self.cast(shoulder, hand, 0.05);
    }

    fn cast(&mut self, from: Vector, to: Vector, radius: f32) {
        self.casters.push(Caster { from, to, radius });
    }
}

impl Frame {
    /// Hip joint, knee and ankle.
    fn leg(&self, side: &Side) -> (Vector, Vector, Vector) {
        let out = self.right * side.sign;
        let joint = self.hip + out * 0.085 - self.upright * 0.05;
        let swing = |angle: f32| self.forward * angle.sin() - self.upright * angle.cos();
        let knee = joint + (swing(side.thigh) + out * 0.06).unit() * THIGH;
        let ankle = knee + swing(side.thigh - side.knee) * SHANK;
        (joint, knee, ankle)
    }
}

/// How somebody's left (-1) or right (1) limbs are bent.
fn side(figure: &Figure, sign: f32) -> Side {
    let run = smooth(0.15, 6.5, figure.speed).powf(0.7);
    let moving = smooth(0.1, 0.8, figure.speed);
    let swing = (figure.stride).sin() * sign;
    let rise = (figure.stride).cos() * sign;
    let stand = 0.06 * (1.0 - moving);
    let mut thigh = moving * (0.26 + 0.62 * run) * swing + 0.16 * run + stand;
    let mut knee = 0.14 + moving * (0.35 + 1.35 * run) * rise.max(0.0) + 0.25 * run;
    if sign > 0.0 {
        let sure = figure.kick.abs().min(1.0);
        thigh = mix(thigh, figure.kick * 1.0, sure);
        knee = mix(knee, if figure.kick < 0.0 { 1.5 } else { 0.15 }, sure);
    }
    let mut arm = -moving * (0.28 + 0.70 * run) * swing + 0.05;
    let mut elbow = 0.30 + 1.25 * run;
    let mut splay = 0.16 + 0.10 * (1.0 - run) + figure.kick.abs().min(1.0) * 0.5;
    arm = mix(arm, 0.75, figure.carry);
    elbow = mix(elbow, 1.05, figure.carry);
    splay = mix(splay, -0.12, figure.carry);
    let stretched = figure.dive.abs();
    arm = mix(arm, 2.75, stretched);
    elbow = mix(elbow, 0.2, stretched);
    splay = mix(splay, 0.0, stretched);
    // Of one who dives, the upper leg is drawn up.
    let upper = figure.dive * sign < 0.0;
    thigh = mix(thigh, if upper { 0.9 } else { 0.1 }, stretched);
    knee = mix(knee, if upper { 1.3 } else { 0.25 }, stretched);
    Side {
        sign,
        thigh,
        knee,
        arm,
        elbow,
        splay,
    }
}

fn frame(figure: &Figure, sides: &[Side; 2]) -> Frame {
    let right = figure.heading.cross(Vector::UP).unit();
    let forward = figure.heading;
    // The leg that reaches lowest stands on the ground.
    let reach = |it: &Side| THIGH * it.thigh.cos() + SHANK * (it.thigh - it.knee).cos();
    let standing = reach(&sides[0]).max(reach(&sides[1])) + SOLE + 0.05;
    let hop = smooth(3.0, 7.0, figure.speed) * 0.05 * (figure.stride * 2.0).cos().max(0.0);
    let fall = figure.dive * 1.22;
    let upright = (Vector::UP * fall.cos() + right * fall.sin()).unit();
    let across = right * fall.cos() - Vector::UP * fall.sin();
    let height = mix(standing + hop, 0.52, figure.dive.abs());
    let lean = (0.04 + 0.035 * figure.speed + 0.10 * figure.kick).clamp(0.0, 0.32);
    Frame {
        hip: figure.place + Vector::UP * height + right * (figure.dive * 0.25),
        right: across,
        forward,
        spine: (upright * lean.cos() + forward * lean.sin()).unit(),
        upright,
    }
}
