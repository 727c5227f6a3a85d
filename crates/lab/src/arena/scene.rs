//! The match as one camera sees it, frame by frame.

use super::board::{Boards, Spot};
use super::body::Body;
use super::goal::{self, Fragment};
use super::marker::Marker;
use super::picture::Picture;
use super::play::Play;
use super::rig::{Lens, Mount};
use super::shadow::Shadows;
use super::solid::Brush;
use super::stadium;

/// Everything a camera needs to draw its frames.
#[derive(Debug)]
pub(super) struct Scene {
    name: String,
    camera: u8,
    frames: u32,
    lens: Lens,
    boards: Boards,
    spots: Vec<Spot>,
    goals: Vec<Fragment>,
    picture: Picture,
    brush: Brush,
    shadows: Shadows,
}

impl Scene {
    /// Draws what never moves; takes about a second for 720p.
    pub(super) fn new(
        mount: &Mount,
        camera: u8,
        (width, height): (usize, usize),
        frames: u32,
    ) -> Self {
        let lens = Lens::new(mount, width, height);
        let background = stadium::trace(&lens);
        let mut picture = Picture::new(width, height, background.pixels);
        goal::shade(&lens, &mut picture);
        let goals = goal::fragments(&lens);
        for it in &goals {
            picture.cover(it.pixel, it.share, f32::INFINITY, it.colour);
        }
        Self {
            name: mount.name.to_ascii_uppercase(),
            camera,
            frames,
            lens,
            boards: Boards::new(),
            spots: background.spots,
            goals,
            picture: picture.keep(),
            brush: Brush::default(),
            shadows: Shadows::default(),
        }
    }

    /// Draws a frame of the loop.
    pub(super) fn draw(&mut self, play: &Play, frame: u32) -> &mut Picture {
        let Self { lens, picture, .. } = self;
        picture.restore();
        let share = frame as f32 / self.frames as f32;
        self.boards.draw(&self.spots, share, picture);

        let moment = play.at(share);
        let people = moment.figures.iter().enumerate();
        let mut bodies: Vec<(f32, Body)> = people
            .map(|(who, it)| (lens.depth(it.place), Body::person(who, it)))
            .collect();
        bodies.push((lens.depth(moment.ball), Body::ball(&moment)));
        // The farthest first: who is nearer is drawn over them.
        bodies.sort_by(|one, other| other.0.total_cmp(&one.0));
        for (_, body) in &bodies {
            self.shadows.draw(&body.casters, lens, picture);
        }
        for (_, body) in &bodies {
            self.brush.draw(&body.solids, lens, picture);
        }
        for it in &self.goals {
            picture.hide(it.pixel, it.share, it.depth, it.colour);
        }
        let marker = Marker {
            frame: u16::try_from(frame).unwrap_or(u16::MAX),
            camera: self.camera,
        };
        marker.draw(&self.caption(frame), &mut self.picture);
        &mut self.picture
    }

    fn caption(&self, frame: u32) -> String {
        let seconds = frame / super::FPS;
        let (minutes, seconds, rest) = (seconds / 60, seconds % 60, frame % super::FPS);
        format!("{} {minutes:02}:{seconds:02}:{rest:02}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig;
    use super::*;

    const SIZE: (usize, usize) = (320, 180);
    const FRAMES: u32 = 720;

    #[test]
    fn the_same_frame_is_the_same_picture_whatever_came_before() {
        let play = Play::new();
        let (mut one, mut other) = (scene(2), scene(2));
        for frame in [5, 400, 13] {
            one.draw(&play, frame);
        }
        let fresh = other.draw(&play, 13).pixels().to_vec();
        assert!(one.picture.pixels() == fresh, "drawn over what came before");
        assert_eq!(
            one.draw(&play, 14).planes().to_vec(),
            other.draw(&play, 14).planes()
        );
    }

    #[test]
    fn the_loop_closes() {
        let play = Play::new();
        let mut scene = scene(0);
        let mut step = |from: u32, to: u32| {
            let before = scene.draw(&play, from).planes().to_vec();
            difference(&before, scene.draw(&play, to).planes())
        };
        let steps: Vec<f64> = (0..10).map(|it| step(it * 70, it * 70 + 1)).collect();
        let usual = steps.iter().copied().fold(0.0, f64::max);
        assert!(usual > 0.01, "nothing moves: {usual}");
        let seam = step(FRAMES - 1, 0);
        assert!(seam <= usual * 1.2, "{seam} where {usual} is usual");
        let far = step(FRAMES / 2, 0);
        assert!(
            far > usual,
            "{far} between moments far apart, {usual} usually"
        );
    }

    #[test]
    fn cameras_see_the_same_from_other_sides() {
        let play = Play::new();
        let moment = play.at(0.3);
        // Whoever is nearer to a camera than the middle spot is beyond it for the one opposite.
        let (here, there) = (scene(0).lens, scene(6).lens);
        for figure in &moment.figures {
            let near = |lens: &Lens| lens.depth(figure.place) - lens.depth(Default::default());
            let (one, other) = (near(&here), near(&there));
            assert!(one * other <= 0.0, "{one} from here, {other} from there");
        }
        // What stands at different depths moves differently from one camera to the next.
        let shift = |at| scene(1).lens.project(at).0 - here.project(at).0;
        let (front, back) = (shift(on_grass(0.0, -8.0)), shift(on_grass(0.0, 8.0)));
        assert!(front * back < 0.0, "around the centre: {front} and {back}");
        assert!((front - back).abs() > 40.0, "{front} and {back}");
    }

    #[test]
    fn frame_and_camera_are_in_the_picture() {
        let play = Play::new();
        for camera in [0, 7] {
            let mut scene = scene(camera);
            for frame in [0, 1, 359, 719] {
                let planes = scene.draw(&play, frame.into()).planes();
                let read = Marker::read(planes, SIZE.0, SIZE.1);
                assert_eq!(read, Some(Marker { frame, camera }));
            }
        }
    }

    fn scene(camera: u8) -> Scene {
        let mounts = rig::ring(12);
        Scene::new(&mounts[usize::from(camera)], camera, SIZE, FRAMES)
    }

    fn on_grass(x: f32, y: f32) -> super::super::vector::Vector {
        super::super::vector::Vector::new(x, y, 0.0)
    }

    /// On the average, without the marker's rows.
    fn difference(one: &[u8], other: &[u8]) -> f64 {
        let luma = 40 * SIZE.0..SIZE.0 * SIZE.1;
        let pairs = one[luma.clone()].iter().zip(&other[luma.clone()]);
        let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / luma.len() as f64
    }
}
