//! Typing characters.
//!
//! A character that a key carries, alone or with Shift, is typed on that key. Any other is first put
//! on a spare key, one that the layout leaves empty. An app looks a key's meaning up when it gets to
//! the key press, perhaps much later, so a spare key is given another character only when all others
//! were given theirs more recently.

use std::collections::{BTreeMap, VecDeque};

use logic::keymap::{Keycode, Keysym, keycode, keysym};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT, KeyButMask};

use super::fake;
use crate::x11::{Link, XError};

/// Spare keys at most. More would help scripts with many characters, but every key given away is
/// one that the layout cannot have.
const SPARE_MAX: usize = 48;
/// What must not be held when a character is typed on its own key.
const DISTURBING: u16 = 0xff & !NUM_LOCK;
/// `Mod2` by custom; it changes the number pad only.
const NUM_LOCK: u16 = 0x10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    Without,
    With,
}

#[derive(Debug)]
pub(super) struct TextKeys {
    carried: BTreeMap<Keysym, (Keycode, Shift)>,
    /// The least recently used first; `None` where nothing was put yet.
    spare: VecDeque<(Keycode, Option<Keysym>)>,
    shift: Keycode,
}

impl TextKeys {
    /// Reads the layout. It is read once: a layout is set before the apps start.
    pub(super) fn read(link: &Link) -> Result<Self, XError> {
        let connection = &link.connection;
        let (first, last) = {
            let setup = connection.setup();
            (setup.min_keycode, setup.max_keycode)
        };
        let mapping = connection
            .get_keyboard_mapping(first, last - first + 1)?
            .reply()?;
        let per_key = usize::from(mapping.keysyms_per_keycode.max(1));
        let mut carried = BTreeMap::new();
        let mut spare = VecDeque::new();
        for (code, keysyms) in (first..=last).zip(mapping.keysyms.chunks(per_key)) {
            if keysyms.iter().all(|&keysym| keysym == 0) {
                spare.push_back((Keycode(code), None));
            }
            for (&keysym, shift) in keysyms.iter().zip([Shift::Without, Shift::With]) {
                carried
                    .entry(Keysym(keysym))
                    .or_insert((Keycode(code), shift));
            }
        }
        carried.remove(&Keysym(0));
        // The highest codes: the lowest are likelier to be real keys of another layout.
        spare.drain(..spare.len().saturating_sub(SPARE_MAX));
        Ok(Self {
            carried,
            spare,
            shift: keycode("ShiftLeft").expect("the table has it"),
        })
    }

    pub(super) fn type_text(&mut self, link: &Link, text: &str) -> Result<(), XError> {
        let pointer = link.connection.query_pointer(link.root)?.reply()?;
        let disturbed = u16::from(pointer.mask & KeyButMask::from(DISTURBING)) != 0;
        // "\r\n" is one key.
        let text = text.replace("\r\n", "\n");
        for keysym in text.chars().filter_map(keysym) {
            match self.carried.get(&keysym) {
                Some(&(key, Shift::Without)) if !disturbed => strike(link, key)?,
                Some(&(key, Shift::With)) if !disturbed => {
                    fake(link, KEY_PRESS_EVENT, self.shift.0, (0, 0))?;
                    strike(link, key)?;
                    fake(link, KEY_RELEASE_EVENT, self.shift.0, (0, 0))?;
                }
                _ => {
                    if let Some(key) = self.put(link, keysym)? {
                        strike(link, key)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts a character on a spare key unless it is on one already. `None`: the layout leaves no
    /// key empty.
    fn put(&mut self, link: &Link, keysym: Keysym) -> Result<Option<Keycode>, XError> {
        let known = self.spare.iter().position(|(_, on)| *on == Some(keysym));
        let Some((key, _)) = self.spare.remove(known.unwrap_or(0)) else {
            return Ok(None);
        };
        if known.is_none() {
            // The same with and without Shift: the character is wanted as it is.
            let keysyms = [keysym.0, keysym.0];
            link.connection
                .change_keyboard_mapping(1, key.0, 2, &keysyms)?;
        }
        self.spare.push_back((key, Some(keysym)));
        Ok(Some(key))
    }
}

fn strike(link: &Link, key: Keycode) -> Result<(), XError> {
    fake(link, KEY_PRESS_EVENT, key.0, (0, 0))?;
    fake(link, KEY_RELEASE_EVENT, key.0, (0, 0))
}
