//! From what a terminal calls a key to what an X server calls it.
//!
//! A terminal names the physical place of a key (`KeyboardEvent.code` of W3C's UI Events); Linux
//! numbers the same places (evdev); an X server with an evdev keymap adds eight. Text that has no
//! key travels as characters, which X calls keysyms.

/// What X adds to evdev's numbers.
const X_OFFSET: u8 = 8;

/// An X keycode: the number of a physical key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keycode(pub u8);

/// An X keysym: the number of what a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keysym(pub u32);

/// Returns the X keycode of a W3C `code`, or `None` for a key that Linux does not know or that no
/// app has a use for (power, sleep).
pub fn keycode(code: &str) -> Option<Keycode> {
    let place = EVDEV.binary_search_by(|(name, _)| name.cmp(&code)).ok()?;
    Some(Keycode(EVDEV[place].1 + X_OFFSET))
}

/// Returns the keysym of a character: for line feed, tab and backspace the key of that name, for
/// other control characters `None`.
pub fn keysym(character: char) -> Option<Keysym> {
    let code = u32::from(character);
    match character {
        '\n' | '\r' => Some(Keysym(0xff0d)),
        '\t' => Some(Keysym(0xff09)),
        '\u{8}' => Some(Keysym(0xff08)),
        // Latin-1 has keysyms of its own, from before Unicode.
        ' '..='~' | '\u{a0}'..='\u{ff}' => Some(Keysym(code)),
        _ if character.is_control() => None,
        _ => Some(Keysym(0x0100_0000 | code)),
    }
}

/// W3C's codes and evdev's numbers, sorted by code.
#[rustfmt::skip]
const EVDEV: &[(&str, u8)] = &[
    ("Again", 129),
    ("AltLeft", 56),
    ("AltRight", 100),
    ("ArrowDown", 108),
    ("ArrowLeft", 105),
    ("ArrowRight", 106),
    ("ArrowUp", 103),
    ("AudioVolumeDown", 114),
    ("AudioVolumeMute", 113),
    ("AudioVolumeUp", 115),
    ("Backquote", 41),
    ("Backslash", 43),
    ("Backspace", 14),
    ("BracketLeft", 26),
    ("BracketRight", 27),
    ("BrowserBack", 158),
    ("BrowserFavorites", 156),
    ("BrowserForward", 159),
    ("BrowserHome", 172),
    ("BrowserRefresh", 173),
    ("BrowserSearch", 217),
    ("BrowserStop", 128),
    ("CapsLock", 58),
    ("Comma", 51),
    ("ContextMenu", 127),
    ("ControlLeft", 29),
    ("ControlRight", 97),
    ("Convert", 92),
    ("Copy", 133),
    ("Cut", 137),
    ("Delete", 111),
    ("Digit0", 11),
    ("Digit1", 2),
    ("Digit2", 3),
    ("Digit3", 4),
    ("Digit4", 5),
    ("Digit5", 6),
    ("Digit6", 7),
    ("Digit7", 8),
    ("Digit8", 9),
    ("Digit9", 10),
    ("Eject", 161),
    ("End", 107),
    ("Enter", 28),
    ("Equal", 13),
    ("Escape", 1),
    ("F1", 59),
    ("F10", 68),
    ("F11", 87),
    ("F12", 88),
    ("F13", 183),
    ("F14", 184),
    ("F15", 185),
    ("F16", 186),
    ("F17", 187),
    ("F18", 188),
    ("F19", 189),
    ("F2", 60),
    ("F20", 190),
    ("F21", 191),
    ("F22", 192),
    ("F23", 193),
    ("F24", 194),
    ("F3", 61),
    ("F4", 62),
    ("F5", 63),
    ("F6", 64),
    ("F7", 65),
    ("F8", 66),
    ("F9", 67),
    ("Find", 136),
    ("Help", 138),
    ("Home", 102),
    ("Insert", 110),
    ("IntlBackslash", 86),
    ("IntlRo", 89),
    ("IntlYen", 124),
    ("KanaMode", 93),
    ("KeyA", 30),
    ("KeyB", 48),
    ("KeyC", 46),
    ("KeyD", 32),
    ("KeyE", 18),
    ("KeyF", 33),
    ("KeyG", 34),
    ("KeyH", 35),
    ("KeyI", 23),
    ("KeyJ", 36),
    ("KeyK", 37),
    ("KeyL", 38),
    ("KeyM", 50),
    ("KeyN", 49),
    ("KeyO", 24),
    ("KeyP", 25),
    ("KeyQ", 16),
    ("KeyR", 19),
    ("KeyS", 31),
    ("KeyT", 20),
    ("KeyU", 22),
    ("KeyV", 47),
    ("KeyW", 17),
    ("KeyX", 45),
    ("KeyY", 21),
    ("KeyZ", 44),
    ("Lang1", 122),
    ("Lang2", 123),
    ("Lang3", 90),
    ("Lang4", 91),
    ("Lang5", 85),
    ("LaunchApp1", 144),
    ("LaunchApp2", 140),
    ("LaunchMail", 155),
    ("MediaPlayPause", 164),
    ("MediaSelect", 226),
    ("MediaStop", 166),
    ("MediaTrackNext", 163),
    ("MediaTrackPrevious", 165),
    ("MetaLeft", 125),
    ("MetaRight", 126),
    ("Minus", 12),
    ("NonConvert", 94),
    ("NumLock", 69),
    ("Numpad0", 82),
    ("Numpad1", 79),
    ("Numpad2", 80),
    ("Numpad3", 81),
    ("Numpad4", 75),
    ("Numpad5", 76),
    ("Numpad6", 77),
    ("Numpad7", 71),
    ("Numpad8", 72),
    ("Numpad9", 73),
    ("NumpadAdd", 78),
    ("NumpadComma", 121),
    ("NumpadDecimal", 83),
    ("NumpadDivide", 98),
    ("NumpadEnter", 96),
    ("NumpadEqual", 117),
    ("NumpadMultiply", 55),
    ("NumpadParenLeft", 179),
    ("NumpadParenRight", 180),
    ("NumpadSubtract", 74),
    ("Open", 134),
    ("PageDown", 109),
    ("PageUp", 104),
    ("Paste", 135),
    ("Pause", 119),
    ("Period", 52),
    ("PrintScreen", 99),
    ("Props", 130),
    ("Quote", 40),
    ("ScrollLock", 70),
    ("Select", 132),
    ("Semicolon", 39),
    ("ShiftLeft", 42),
    ("ShiftRight", 54),
    ("Slash", 53),
    ("Space", 57),
    ("Tab", 15),
    ("Undo", 131),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, expected: Option<u8>) {
        assert_eq!(keycode(code), expected.map(Keycode), "{code}");
    }

    #[test]
    fn keys_are_found_by_their_place() {
        check("KeyA", Some(38));
        check("Escape", Some(9));
        check("ArrowUp", Some(111));
        check("ControlRight", Some(105));
        check("NumpadEnter", Some(104));
        check("F24", Some(202));
        check("MediaSelect", Some(234));
        for unknown in ["", "keya", "KeyÄ", "Power", "Unidentified"] {
            check(unknown, None);
        }
    }

    #[test]
    fn the_table_is_sorted_and_no_two_keys_share_a_place() {
        assert!(EVDEV.is_sorted_by(|a, b| a.0 < b.0));
        let mut places: Vec<u8> = EVDEV.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), EVDEV.len());
    }

    #[test]
    fn characters_have_keysyms() {
        for (character, expected) in [
            ('a', Some(0x61)),
            ('é', Some(0xe9)),
            ('€', Some(0x0100_20ac)),
            ('я', Some(0x0100_044f)),
            ('😀', Some(0x0101_f600)),
            ('\n', Some(0xff0d)),
            ('\u{1b}', None),
            ('\u{7f}', None),
            ('\u{85}', None),
        ] {
            assert_eq!(keysym(character), expected.map(Keysym), "{character:?}");
        }
    }
}
