//! Handing a person's input to the apps of a screen, by XTEST.
//!
//! Keys are pressed by place: the X server must have an evdev keymap (Xvfb on Linux has), whose
//! layout decides what they mean. Text that comes as characters is typed on the keys that carry them
//! and, where no key does, on spare keys that are given the character for the purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use logic::keymap::{Keycode, keycode};
use model::input::InputEvent;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MOTION_NOTIFY_EVENT,
};
use x11rb::protocol::xtest::{self, ConnectionExt as _};

use crate::picture::Size;
use crate::x11::{Link, XError, XServer};

mod text;

/// Notches of the wheel per event and direction at most; a page is long before that.
const NOTCHES_MAX: f32 = 20.0;
/// X's buttons for the wheel.
const WHEEL_UP: u8 = 4;
const WHEEL_DOWN: u8 = 5;
const WHEEL_LEFT: u8 = 6;
const WHEEL_RIGHT: u8 = 7;

/// Sets the keyboard layout of an X server, such as `de` or `us(intl)`. Runs `setxkbmap`, which is
/// installed wherever Xvfb is; blocks until it is done.
///
/// # Errors
/// If the name is no layout's or the program fails.
pub fn set_layout(server: &XServer, layout: &str) -> Result<(), LayoutError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_,()-".contains(c);
    if layout.is_empty() || layout.starts_with('-') || !layout.chars().all(fits) {
        return Err(LayoutError::Name {
            layout: layout.into(),
        });
    }
    let mut command = Command::new("setxkbmap");
    command.args([
        "-display",
        &server.display,
        "-rules",
        "evdev",
        "-layout",
        layout,
    ]);
    if let Some(authority) = &server.authority {
        command.env("XAUTHORITY", &authority.file);
    }
    let output = command.output().map_err(LayoutError::Run)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(LayoutError::Refused {
            layout: layout.into(),
            said: String::from_utf8_lossy(&output.stderr).trim().into(),
        })
    }
}

/// Why a keyboard layout could not be set.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The name has characters that no layout's has.
    #[error("{layout:?} is no keyboard layout")]
    Name {
        /// The name.
        layout: String,
    },
    /// The program is missing.
    #[error("cannot run setxkbmap")]
    Run(#[source] std::io::Error),
    /// The program failed.
    #[error("setxkbmap refused the keyboard layout {layout}: {said}")]
    Refused {
        /// The name.
        layout: String,
        /// Its words.
        said: String,
    },
}

/// The hands on one screen: what they hold, and what they have not yet moved in full.
#[derive(Debug)]
pub(crate) struct Hands {
    keys_down: BTreeSet<Keycode>,
    buttons_down: BTreeSet<u8>,
    /// Fractions of wheel notches and pixels that are still owed, right and down.
    wheel: (f32, f32),
    relative: (f32, f32),
    gamepad: BTreeMap<u8, Keycode>,
    text: text::TextKeys,
}

impl Hands {
    /// `gamepad` maps gamepad buttons to W3C codes of keys.
    pub(crate) fn new(link: &Link, gamepad: &BTreeMap<u8, String>) -> Result<Self, XError> {
        link.need(xtest::X11_EXTENSION_NAME)?;
        link.connection.xtest_get_version(2, 2)?.reply()?;
        let mapped = |(button, code): (&u8, &String)| {
            let key = keycode(code);
            if key.is_none() {
                tracing::warn!(button, code, "a gamepad button is mapped to no key");
            }
            Some((*button, key?))
        };
        Ok(Self {
            keys_down: BTreeSet::new(),
            buttons_down: BTreeSet::new(),
            wheel: (0.0, 0.0),
            relative: (0.0, 0.0),
            gamepad: gamepad.iter().filter_map(mapped).collect(),
            text: text::TextKeys::read(link)?,
        })
    }

    /// Hands in one event. `size` is the screen's, for positions. The caller flushes.
    pub(crate) fn inject(
        &mut self,
        link: &Link,
        event: &InputEvent,
        size: Size,
    ) -> Result<(), XError> {
        match event {
            InputEvent::Key { code, down, .. } => match keycode(code) {
                Some(key) => self.key(link, key, *down),
                None => Ok(()), // a key that Linux does not know: nothing could listen to it
            },
            InputEvent::Gamepad { button, down, .. } => match self.gamepad.get(button) {
                Some(&key) => self.key(link, key, *down),
                None => Ok(()),
            },
            InputEvent::Text { text, .. } => self.text.type_text(link, text),
            InputEvent::Move { x, y, .. } => move_to(link, size, *x, *y),
            InputEvent::Relative { dx, dy, .. } => self.move_by(link, *dx, *dy),
            InputEvent::Button {
                button, down, x, y, ..
            } => {
                if let (Some(x), Some(y)) = (x, y) {
                    move_to(link, size, *x, *y)?;
                }
                self.button(link, *button, *down)
            }
            InputEvent::Wheel { dx, dy, .. } => self.turn_wheel(link, *dx, *dy),
            InputEvent::Release => self.release(link),
            // The seat does the one, who owns the screen decides the other.
            InputEvent::Clipboard { .. } | InputEvent::Resize { .. } => Ok(()),
        }
    }

    /// Lets go of every key and button.
    pub(crate) fn release(&mut self, link: &Link) -> Result<(), XError> {
        self.wheel = (0.0, 0.0);
        self.relative = (0.0, 0.0);
        for key in std::mem::take(&mut self.keys_down) {
            fake(link, KEY_RELEASE_EVENT, key.0, (0, 0))?;
        }
        for button in std::mem::take(&mut self.buttons_down) {
            fake(link, BUTTON_RELEASE_EVENT, button, (0, 0))?;
        }
        Ok(())
    }

    /// Presses or lets go. A second press of a held key is the terminal's own repetition; the X
    /// server repeats by itself.
    fn key(&mut self, link: &Link, key: Keycode, down: bool) -> Result<(), XError> {
        if down && self.keys_down.insert(key) {
            fake(link, KEY_PRESS_EVENT, key.0, (0, 0))?;
        } else if !down && self.keys_down.remove(&key) {
            fake(link, KEY_RELEASE_EVENT, key.0, (0, 0))?;
        }
        Ok(())
    }

    fn button(&mut self, link: &Link, button: u8, down: bool) -> Result<(), XError> {
        // X counts from one and has the wheel between the right button and the others.
        let button = match button {
            0..=2 => button + 1,
            3 | 4 => button + 5,
            _ => return Ok(()),
        };
        if down && self.buttons_down.insert(button) {
            fake(link, BUTTON_PRESS_EVENT, button, (0, 0))?;
        } else if !down && self.buttons_down.remove(&button) {
            fake(link, BUTTON_RELEASE_EVENT, button, (0, 0))?;
        }
        Ok(())
    }

    fn move_by(&mut self, link: &Link, dx: f32, dy: f32) -> Result<(), XError> {
        let x = take_whole(&mut self.relative.0, dx, f32::from(Size::MAX));
        let y = take_whole(&mut self.relative.1, dy, f32::from(Size::MAX));
        if (x, y) == (0, 0) {
            return Ok(());
        }
        // One stands for "relative" here.
        fake(link, MOTION_NOTIFY_EVENT, 1, (x, y))
    }

    fn turn_wheel(&mut self, link: &Link, dx: f32, dy: f32) -> Result<(), XError> {
        let right = take_whole(&mut self.wheel.0, dx, NOTCHES_MAX);
        let down = take_whole(&mut self.wheel.1, dy, NOTCHES_MAX);
        for (notches, forth, back) in [
            (down, WHEEL_DOWN, WHEEL_UP),
            (right, WHEEL_RIGHT, WHEEL_LEFT),
        ] {
            let button = if notches > 0 { forth } else { back };
            for _ in 0..notches.unsigned_abs() {
                fake(link, BUTTON_PRESS_EVENT, button, (0, 0))?;
                fake(link, BUTTON_RELEASE_EVENT, button, (0, 0))?;
            }
        }
        Ok(())
    }
}

fn move_to(link: &Link, size: Size, x: f32, y: f32) -> Result<(), XError> {
    let at = (place(x, size.width()), place(y, size.height()));
    fake(link, MOTION_NOTIFY_EVENT, 0, at)
}

/// The pixel at a fraction of a side.
fn place(fraction: f32, side: u16) -> i16 {
    let last = f32::from(side.saturating_sub(1));
    // From outside: it may be anything. A cast cuts to the type's range and makes zero of NaN.
    (fraction.clamp(0.0, 1.0) * last).round() as i16
}

/// Adds to what is owed and takes the whole part of it; `most` either way, the rest is forgotten.
fn take_whole(owed: &mut f32, more: f32, most: f32) -> i16 {
    let sum = *owed + if more.is_finite() { more } else { 0.0 };
    let sum = sum.clamp(-most, most);
    *owed = sum.fract();
    sum.trunc() as i16
}

pub(crate) fn fake(link: &Link, kind: u8, detail: u8, at: (i16, i16)) -> Result<(), XError> {
    link.connection.xtest_fake_input(
        kind,
        detail,
        x11rb::CURRENT_TIME,
        x11rb::NONE,
        at.0,
        at.1,
        0,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_a_picture_are_pixels_whatever_comes() {
        for (fraction, expected) in [
            (0.0, 0),
            (1.0, 1279),
            (0.5, 640),
            (-3.0, 0),
            (1e30, 1279),
            (f32::NAN, 0),
            (f32::NEG_INFINITY, 0),
        ] {
            assert_eq!(place(fraction, 1280), expected, "{fraction}");
        }
    }

    #[test]
    fn fractions_of_notches_add_up() {
        let mut owed = 0.0;
        let turns = [0.4, 0.4, 0.4, -1.0, -0.7, f32::NAN, f32::INFINITY, 1e9];
        let whole: Vec<i16> = turns
            .iter()
            .map(|&more| take_whole(&mut owed, more, 20.0))
            .collect();
        assert_eq!(whole, [0, 0, 1, 0, -1, 0, 0, 20]);
    }

    #[test]
    fn layouts_are_names_not_arguments() {
        for bad in ["", "-print", "us; rm", "../x"] {
            let refused = set_layout(&":0".into(), bad);
            assert!(matches!(refused, Err(LayoutError::Name { .. })), "{bad}");
        }
    }
}
