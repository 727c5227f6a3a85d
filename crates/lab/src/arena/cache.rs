//! Renders and encodes what is not there yet, on all processors.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use super::encode::{self, Encoder, file_error, part_of};
use super::play::Play;
use super::rig;
use super::scene::Scene;
use super::sound;
use super::{ArenaError, Camera, Event, Progress, Settings};

const EVENT: &str = "event.json";
const SOUND: &str = "sound.aac";
/// Held while somebody renders: whoever comes second waits and finds everything ready.
const LOCK: &str = "lock";

/// Sees to it that an event's files are in a directory, which nothing else may use.
///
/// What is there from before and was made by the same [`Settings`] and the same renderer stays;
/// everything else is made. Takes about two minutes for the default settings on two processors, of
/// which it takes all, and about 9 MB for each camera. `progress` hears how far it is many times
/// a second, and may stop it; what was finished until then stays.
///
/// # Errors
/// When the settings are out of their limits, ffmpeg is missing or fails, the disk is full, or
/// `progress` said stop.
pub fn prepare(
    dir: &Path,
    settings: &Settings,
    progress: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
) -> Result<Event, ArenaError> {
    let mut event = Event::plan(settings)?;
    dir.clone_into(&mut event.dir);
    fs::create_dir_all(dir).map_err(file_error("make", dir))?;
    let lock = dir.join(LOCK);
    let held = File::create(&lock).map_err(file_error("write", &lock))?;
    held.lock().map_err(file_error("lock", &lock))?;

    clear_if_other(&event)?;
    let is_missing = |it: &&(usize, &Camera)| !dir.join(&it.1.file).exists();
    let numbered: Vec<(usize, &Camera)> = event.cameras.iter().enumerate().collect();
    let missing: Vec<(usize, &Camera)> = numbered.iter().filter(is_missing).copied().collect();
    let work = Work {
        event: &event,
        play: Play::new(),
        state: Mutex::new(State {
            waiting: missing.iter().map(|it| it.0).rev().collect(),
            done: (event.cameras.len() - missing.len()) as u32 * settings.frames(),
            stopped: false,
            progress,
        }),
    };
    if !missing.is_empty() {
        sound::make(settings, &dir.join(SOUND))?;
        work.all(missing.len())?;
    }
    work.report(0)?;
    Ok(event)
}

/// Removes what was made by other settings or by another renderer.
fn clear_if_other(event: &Event) -> Result<(), ArenaError> {
    let path = event.dir.join(EVENT);
    let wanted = serde_json::to_vec_pretty(event).expect("numbers and strings only");
    if fs::read(&path).is_ok_and(|it| it == wanted) {
        return Ok(());
    }
    let names = fs::read_dir(&event.dir).map_err(file_error("list", &event.dir))?;
    for entry in names.flatten() {
        let path = entry.path();
        let kind = path.extension().and_then(|it| it.to_str());
        if matches!(kind, Some("flv" | "aac" | "part" | "log")) {
            fs::remove_file(&path).map_err(file_error("remove", &path))?;
        }
    }
    encode::write_whole(&path, &wanted)
}

/// What the threads share.
struct Work<'a> {
    event: &'a Event,
    play: Play,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    /// Numbers of cameras, the next one last.
    waiting: Vec<usize>,
    done: u32,
    stopped: bool,
    progress: &'a mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
}

impl<'a> Work<'a> {
    fn all(&self, cameras: usize) -> Result<(), ArenaError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..processors.min(cameras))
                .map(|_| scope.spawn(|| self.some()))
                .collect();
            let ended = threads
                .into_iter()
                .map(|it| it.join().expect("rendering does not panic"));
            let mut errors: Vec<ArenaError> = ended.filter_map(Result::err).collect();
            // What failed made the others stop: that is not the reason.
            errors.sort_by_key(|it| matches!(it, ArenaError::Stopped));
            errors.into_iter().next().map_or(Ok(()), Err)
        })
    }

    /// Renders camera after camera until none waits.
    fn some(&self) -> Result<(), ArenaError> {
        while let Some(camera) = self.next() {
            if let Err(error) = self.one(camera) {
                self.lock().stopped = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        state.waiting.pop()
    }

    fn one(&self, camera: usize) -> Result<(), ArenaError> {
        let settings = &self.event.settings;
        let path = self.event.dir.join(&self.event.cameras[camera].file);
        let sound = self.event.dir.join(SOUND);
        let mount = &rig::ring(settings.cameras)[camera];
        let number = u8::try_from(camera).expect("at most 64 cameras");
        let size = (settings.width as usize, settings.height as usize);
        let mut scene = Scene::new(mount, number, size, settings.frames());
        let mut encoder = Encoder::start(settings, &sound, &path)?;
        for frame in 0..settings.frames() {
            encoder.write(scene.draw(&self.play, frame).planes())?;
            if let Err(stopped) = self.report(1) {
                drop(encoder);
                let _ = fs::remove_file(part_of(&path)); // the next run would write over it
                return Err(stopped);
            }
        }
        encoder.finish()
    }

    fn report(&self, frames: u32) -> Result<(), ArenaError> {
        let mut state = self.lock();
        state.done += frames;
        let now = Progress {
            done: state.done,
            total: self.event.cameras.len() as u32 * self.event.settings.frames(),
        };
        if state.stopped || (state.progress)(now).is_break() {
            state.stopped = true;
            return Err(ArenaError::Stopped);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<'a>> {
        // Who panicked meanwhile has only not counted a frame.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
