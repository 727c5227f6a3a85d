//! Changing the size of a screen by RandR.
//!
//! Xvfb has one output on one CRTC and is as large as it was started; a smaller size needs a mode of
//! that size, which we add. The order matters: the CRTC must be off while the screen gets smaller
//! than the mode it shows.

use x11rb::protocol::randr::{self, ConnectionExt as _, Mode, Output};

use crate::picture::Size;
use crate::x11::{Link, XError};

/// What a millimetre is worth where no real screen is: 96 pixels an inch.
const PIXELS_PER_INCH: u32 = 96;

/// A mode that we added, to be taken away when another follows: a window dragged larger would
/// leave hundreds behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnMode {
    output: Output,
    mode: Mode,
}

pub(super) fn max_size(link: &Link) -> Result<Size, XError> {
    let connection = &link.connection;
    connection.randr_query_version(1, 4)?.reply()?;
    let range = connection.randr_get_screen_size_range(link.root)?.reply()?;
    Ok(Size::new(range.max_width, range.max_height))
}

pub(super) fn resize(link: &Link, own: &mut Option<OwnMode>, size: Size) -> Result<(), XError> {
    let connection = &link.connection;
    let resources = connection
        .randr_get_screen_resources_current(link.root)?
        .reply()?;
    let (Some(&crtc), Some(&output)) = (resources.crtcs.first(), resources.outputs.first()) else {
        return Err(XError::Lacks {
            what: "an output that RandR can change",
        });
    };
    let known = resources
        .modes
        .iter()
        .find(|mode| (mode.width, mode.height) == (size.width(), size.height()))
        .map(|mode| mode.id);
    let before = *own;
    let mode = match known {
        Some(mode) => {
            if before.is_some_and(|before| before.mode != mode) {
                *own = None;
            }
            mode
        }
        None => {
            let mode = add_mode(link, output, size)?;
            *own = Some(OwnMode { output, mode });
            mode
        }
    };

    let time = resources.config_timestamp;
    let upright = randr::Rotation::ROTATE0;
    let off = connection.randr_set_crtc_config(crtc, 0, time, 0, 0, x11rb::NONE, upright, &[])?;
    accepted(off.reply()?.status)?;
    let millimetres = |side: u16| (u32::from(side) * 254 / PIXELS_PER_INCH / 10).max(1);
    let (width, height) = (size.width(), size.height());
    connection
        .randr_set_screen_size(
            link.root,
            width,
            height,
            millimetres(width),
            millimetres(height),
        )?
        .check()?;
    let on = connection.randr_set_crtc_config(crtc, 0, time, 0, 0, mode, upright, &[output])?;
    accepted(on.reply()?.status)?;

    if let Some(before) = before.filter(|before| before.mode != mode) {
        connection
            .randr_delete_output_mode(before.output, before.mode)?
            .check()?;
        connection.randr_destroy_mode(before.mode)?.check()?;
    }
    Ok(())
}

fn add_mode(link: &Link, output: Output, size: Size) -> Result<Mode, XError> {
    let (width, height) = (size.width(), size.height());
    let name = format!("{width}x{height}");
    let info = randr::ModeInfo {
        width,
        height,
        // No beam has to fly back: nothing is blank. Sixty pictures a second, as apps expect.
        dot_clock: u32::from(width) * u32::from(height) * 60,
        hsync_start: width,
        hsync_end: width,
        htotal: width,
        vsync_start: height,
        vsync_end: height,
        vtotal: height,
        name_len: u16::try_from(name.len()).expect("two numbers are short"),
        ..randr::ModeInfo::default()
    };
    let connection = &link.connection;
    let mode = connection
        .randr_create_mode(link.root, info, name.as_bytes())?
        .reply()?
        .mode;
    connection.randr_add_output_mode(output, mode)?.check()?;
    Ok(mode)
}

fn accepted(status: randr::SetConfig) -> Result<(), XError> {
    if status == randr::SetConfig::SUCCESS {
        Ok(())
    } else {
        Err(XError::Lacks {
            what: "a CRTC that can be configured",
        })
    }
}
