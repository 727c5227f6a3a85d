//! The clipboard, both ways.
//!
//! X has no clipboard but owners of selections: whoever copied last is asked, when somebody pastes,
//! for the text. An invisible window of ours asks whenever an app becomes the owner, and becomes the
//! owner itself when the terminal's clipboard changed.
//!
//! The terminal's text is offered as the primary selection too, which old programs paste from. Apps'
//! primary selections are deliberately not sent: they change with every stroke of the mouse.

use std::sync::Arc;

use model::input::CLIPBOARD_MAX;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, Property,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::wrapper::ConnectionExt as _;

use crate::x11::{Link, XError};

x11rb::atom_manager! {
    /// The names that the clipboard is spoken of with.
    Atoms: AtomsCookie {
        CLIPBOARD,
        UTF8_STRING,
        TEXT,
        TARGETS,
        INCR,
        PLAIN: b"text/plain;charset=utf-8",
        SELVEDGE_CLIPBOARD,
    }
}

#[derive(Debug)]
pub(crate) struct Clipboard {
    window: Window,
    atoms: Atoms,
    /// What the terminal copied last, while we own the clipboard.
    offered: Option<Arc<str>>,
    /// The last text either way, so that the same does not go round in circles.
    last: Option<Arc<str>>,
    /// A text that comes in parts.
    arriving: Option<Vec<u8>>,
}

impl Clipboard {
    pub(crate) fn new(link: &Link) -> Result<Self, XError> {
        link.need(xfixes::X11_EXTENSION_NAME)?;
        let connection = &link.connection;
        connection.xfixes_query_version(5, 0)?.reply()?;
        let atoms = Atoms::new(connection)?.reply()?;
        let window = connection.generate_id()?;
        let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let class = WindowClass::INPUT_ONLY;
        connection
            .create_window(0, window, link.root, -1, -1, 1, 1, 0, class, 0, &aux)?
            .check()?;
        let mask = xfixes::SelectionEventMask::SET_SELECTION_OWNER;
        connection
            .xfixes_select_selection_input(window, atoms.CLIPBOARD, mask)?
            .check()?;
        Ok(Self {
            window,
            atoms,
            offered: None,
            last: None,
            arriving: None,
        })
    }

    /// Makes the terminal's text what apps paste. Text beyond [`CLIPBOARD_MAX`] is ignored.
    pub(crate) fn offer(&mut self, link: &Link, text: &str) -> Result<(), XError> {
        if !fits(text.len()) {
            return Ok(());
        }
        let text: Arc<str> = text.into();
        self.last = Some(text.clone());
        self.offered = Some(text);
        for selection in [self.atoms.CLIPBOARD, AtomEnum::PRIMARY.into()] {
            link.connection
                .set_selection_owner(self.window, selection, x11rb::CURRENT_TIME)?;
        }
        Ok(())
    }

    /// Takes in an event; returns what an app copied. The caller flushes.
    pub(crate) fn handle(
        &mut self,
        link: &Link,
        event: &Event,
    ) -> Result<Option<Arc<str>>, XError> {
        let connection = &link.connection;
        match event {
            Event::XfixesSelectionNotify(event)
                if event.owner != self.window && event.owner != x11rb::NONE =>
            {
                self.arriving = None;
                connection.convert_selection(
                    self.window,
                    self.atoms.CLIPBOARD,
                    self.atoms.UTF8_STRING,
                    self.atoms.SELVEDGE_CLIPBOARD,
                    event.selection_timestamp,
                )?;
            }
            // No property: the owner has no text to give.
            Event::SelectionNotify(event) if event.property != x11rb::NONE => {
                return self.take_text(link);
            }
            Event::PropertyNotify(event)
                if event.state == Property::NEW_VALUE
                    && event.atom == self.atoms.SELVEDGE_CLIPBOARD
                    && self.arriving.is_some() =>
            {
                return self.take_part(link);
            }
            Event::SelectionRequest(request) => self.answer(link, request)?,
            Event::SelectionClear(event) if event.selection == self.atoms.CLIPBOARD => {
                self.offered = None;
            }
            _ => {}
        }
        Ok(None)
    }

    fn take_text(&mut self, link: &Link) -> Result<Option<Arc<str>>, XError> {
        let (kind, value) = self.take_property(link)?;
        if kind == self.atoms.INCR {
            // Taking the announcement away was the word to begin; parts follow.
            self.arriving = Some(Vec::new());
            return Ok(None);
        }
        Ok(value.and_then(|value| self.accept(value)))
    }

    fn take_part(&mut self, link: &Link) -> Result<Option<Arc<str>>, XError> {
        let (_, part) = self.take_property(link)?;
        let Some(mut text) = self.arriving.take() else {
            return Ok(None);
        };
        match part {
            Some(part) if part.is_empty() => Ok(self.accept(text)),
            Some(part) if fits(text.len() + part.len()) => {
                text.extend_from_slice(&part);
                self.arriving = Some(text);
                Ok(None)
            }
            _ => Ok(None), // too long: the rest stays with its owner
        }
    }

    /// Reads and deletes the property that texts arrive in; no value if it is too long.
    fn take_property(&self, link: &Link) -> Result<(Atom, Option<Vec<u8>>), XError> {
        let max = u32::try_from(CLIPBOARD_MAX.get()).expect("it is a small constant");
        let (window, property) = (self.window, self.atoms.SELVEDGE_CLIPBOARD);
        let connection = &link.connection;
        let reply = connection
            .get_property(false, window, property, AtomEnum::ANY, 0, max / 4)?
            .reply()?;
        connection.delete_property(window, property)?;
        let whole = reply.bytes_after == 0 && reply.format == 8;
        Ok((reply.type_, whole.then_some(reply.value)))
    }

    fn accept(&mut self, text: Vec<u8>) -> Option<Arc<str>> {
        let text: Arc<str> = String::from_utf8(text).ok()?.into();
        if text.is_empty() || self.last.as_ref() == Some(&text) {
            return None;
        }
        self.last = Some(text.clone());
        Some(text)
    }

    /// Answers an app that pastes.
    fn answer(&self, link: &Link, request: &SelectionRequestEvent) -> Result<(), XError> {
        let connection = &link.connection;
        let Atoms {
            UTF8_STRING,
            TEXT,
            TARGETS,
            PLAIN,
            ..
        } = self.atoms;
        let target = request.target;
        // Old programs leave the property out and mean the target's name.
        let property = match request.property {
            x11rb::NONE => target,
            property => property,
        };
        let requestor = request.requestor;
        let given = match &self.offered {
            Some(_) if target == TARGETS => {
                let targets = [TARGETS, UTF8_STRING, PLAIN, TEXT];
                let kind = AtomEnum::ATOM;
                connection.change_property32(
                    PropMode::REPLACE,
                    requestor,
                    property,
                    kind,
                    &targets,
                )?;
                true
            }
            Some(text) if [UTF8_STRING, PLAIN, TEXT].contains(&target) => {
                let kind = if target == TEXT { UTF8_STRING } else { target };
                let bytes = text.as_bytes();
                connection.change_property8(PropMode::REPLACE, requestor, property, kind, bytes)?;
                true
            }
            _ => false,
        };
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor,
            selection: request.selection,
            target,
            property: if given { property } else { x11rb::NONE },
        };
        connection.send_event(false, requestor, EventMask::NO_EVENT, answer)?;
        Ok(())
    }
}

fn fits(len: usize) -> bool {
    u64::try_from(len).is_ok_and(|len| len <= CLIPBOARD_MAX.get())
}
