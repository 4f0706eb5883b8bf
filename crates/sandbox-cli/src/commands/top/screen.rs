//! The terminal while `sandbox top` has it: another screen, without echo, given back as it was.
//!
//! Control sequences are those of xterm, which every terminal of today knows (ctlseqs.txt).

use std::{
    io::{self, IsTerminal as _, Read as _},
    thread,
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcgetwinsize,
    tcsetattr,
};
use sandbox_core::Host;
use tokio::sync::oneshot;

use crate::{
    failure::{Failure, Kind},
    ui::{self, Reader},
};

/// Takes the alternate screen, and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// What a character of `termios` is set to that shall not act: `_POSIX_VDISABLE` of Linux.
const NO_CHARACTER: u8 = 0;

/// Our terminal. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Screen {
    /// How the terminal reads keys, if standard input is one.
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal on standard output; `None` if that is none, or one that cannot be drawn on.
    pub(crate) fn open(host: &Host) -> Result<Option<Self>, Failure> {
        let term = host.variable("TERM").unwrap_or_default();
        if !io::stdout().is_terminal() || term.is_empty() || term == "dumb" {
            return Ok(None);
        }
        let before = keys_without_echo().map_err(|error| {
            Failure::of(Kind::Sandbox, &error).while_doing("cannot set up the terminal")
        })?;
        let screen = Self { before };
        ui::print(ENTER)?;
        Ok(Some(screen))
    }

    /// Returns how much the terminal can show.
    #[expect(clippy::unused_self, reason = "only an open screen has a size")]
    pub(crate) fn size(&self) -> Option<Winsize> {
        tcgetwinsize(io::stdout()).ok()
    }

    /// Shows `text`, and nothing else.
    #[expect(clippy::unused_self, reason = "only an open screen can be drawn on")]
    pub(crate) fn draw(&self, text: &str) -> Result<Reader, Failure> {
        // Line by line over what is there: clearing everything first would flicker.
        let text = text.replace('\n', &format!("{CLEAR_LINE}\r\n"));
        ui::print(&format!("{HOME}{text}{CLEAR_BELOW}"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _shown = ui::print(LEAVE);
        if let Some(before) = &self.before {
            let _set = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Lets single keys be read. Ctrl-C still interrupts; Ctrl-Z would leave the terminal as it is now, so it does nothing.
fn keys_without_echo() -> io::Result<Option<Termios>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let before = tcgetattr(io::stdin())?;
    let mut keys = before.clone();
    keys.local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    keys.special_codes[SpecialCodeIndex::VSUSP] = NO_CHARACTER;
    tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
    Ok(Some(before))
}

/// Tells when somebody types q. Without a terminal on standard input, nobody does.
pub(crate) async fn quit_typed() {
    let (sender, typed) = oneshot::channel();
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        // It lives as long as the program.
        let _without_it_ctrl_c_quits = thread::Builder::new().spawn(move || {
            let mut keys = io::stdin().lock().bytes();
            if keys.any(|key| matches!(key, Ok(b'q' | b'Q') | Err(_))) {
                let _program_ends = sender.send(());
            }
        });
    }
    if typed.await.is_err() {
        std::future::pending::<()>().await;
    }
}
