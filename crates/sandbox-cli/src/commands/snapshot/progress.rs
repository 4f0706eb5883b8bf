//! How far a long command is: one line on a terminal, which is gone when the command has ended.

use std::{
    io::Write as _,
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

use sandbox_core::SandboxCore;
use sandbox_types::Bytes;

use crate::{commands::waiting, failure::Failure, settings::Settings};

/// A command that is shorter shows nothing.
const FIRST: Duration = Duration::from_millis(500);
const NEXT: Duration = Duration::from_millis(200);

/// Back to the beginning of the line, and all of it gone.
const ERASE: &str = "\r\x1b[K";

/// Waits for `work` on `core` and shows meanwhile how far it is, if anybody can see that.
pub(super) fn wait_for<T>(
    settings: &Settings,
    (core, what): (&SandboxCore, &str),
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    if !settings.ui.shows_progress() {
        return waiting::wait_for(work);
    }
    let progress = core.snapshot_progress();
    let what = what.to_owned();
    let (end, ended) = channel::<()>();
    let show = move || {
        let mut pause = FIRST;
        let mut shown = false;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) {
            pause = NEXT;
            let line = line((progress.entries(), progress.bytes(), progress.bytes_total()));
            to_terminal(&format!("{ERASE}sandbox: {what}: {line}"));
            shown = true;
        }
        if shown {
            to_terminal(ERASE);
        }
    };
    let shower = std::thread::spawn(show);
    let result = waiting::wait_for(work);
    drop(end);
    // Its line must be gone before anything else is written.
    drop(shower.join());
    result
}

fn line((entries, bytes, total): (u64, u64, u64)) -> String {
    let mut parts = Vec::new();
    if entries > 0 {
        parts.push(format!("{entries} files"));
    }
    let done = bytes.min(total).saturating_mul(100);
    parts.push(match done.checked_div(total) {
        Some(part) => format!("{part} % of {}", Bytes(total)),
        None => Bytes(bytes).to_string(),
    });
    parts.join(", ")
}

fn to_terminal(text: &str) {
    let mut terminal = std::io::stderr();
    // Nobody can be told that nobody looks.
    drop(
        terminal
            .write_all(text.as_bytes())
            .and_then(|()| terminal.flush()),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        assert_eq!(line((3, 2048, 0)), "3 files, 2K");
        assert_eq!(line((0, 512, 2048)), "25 % of 2K");
        assert_eq!(line((0, 4096, 2048)), "100 % of 2K");
    }
}
