//! `sandbox logs`: what an operation has printed, and what it prints.

use std::io::{self, IsTerminal as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sandbox_core::{HistoryError, OutputError, OutputPiece, SandboxCore};
use sandbox_types::Stream;
use serde_json::json;

use crate::{
    args::LogsArgs,
    commands::{
        events::{interrupted, reader_gone},
        meant, waiting,
    },
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Reader, Ui},
};

pub(crate) fn run(settings: &Settings, args: &LogsArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let shown = Shown {
        ui: settings.ui,
        raw: args.raw,
        only: match (args.stdout, args.stderr) {
            (true, _) => Some(Stream::Stdout),
            (_, true) => Some(Stream::Stderr),
            (false, false) => None,
        },
    };
    let operation = match &args.operation {
        Some(operation) => operation.clone(),
        None => meant::newest_with_output(&core)?,
    };
    match core.output(&operation) {
        Err(error @ OutputError::NotKept { .. }) => {
            from_report(&core, &operation, &shown).unwrap_or_else(|| Err(error.into()))?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) if args.follow => follow(&core, &operation, &shown)?,
        Ok(mut log) => {
            while let Some(piece) = log.next_piece()? {
                if shown.print(&piece)? == Reader::Gone {
                    break;
                }
            }
        }
    }
    Ok(exit_codes::DONE)
}

/// Shows what the report has of an operation that has ended; `None` if it runs.
fn from_report(core: &SandboxCore, operation: &str, shown: &Shown) -> Option<Result<(), Failure>> {
    let report = match core.show(operation) {
        Ok(entry) => entry.report,
        Err(HistoryError::Unknown { .. }) => return None,
        Err(error) => return Some(Err(error.into())),
    };
    let streams = [
        (Stream::Stdout, report.stdout),
        (Stream::Stderr, report.stderr),
    ];
    for (stream, captured) in streams {
        let missing = captured.bytes.saturating_sub(captured.data.len() as u64);
        let piece = OutputPiece {
            stream,
            bytes: captured.data,
            skipped: 0,
        };
        if !piece.bytes.is_empty()
            && let Err(failure) = shown.print(&piece)
        {
            return Some(Err(failure));
        }
        if shown.shows(stream) {
            shown.tell_skipped(missing);
        }
    }
    Some(Ok(()))
}

fn follow(core: &SandboxCore, operation: &str, shown: &Shown) -> Result<(), Failure> {
    waiting::runtime_with_all()?.block_on(async {
        let mut output = core.follow_output(operation)?;
        let mut gone = std::pin::pin!(reader_gone());
        let mut ended = std::pin::pin!(interrupted()?);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => return Ok(()),
                () = &mut gone => return Ok(()),
                piece = output.next() => match piece? {
                    None => return Ok(()),
                    Some(piece) => {
                        if shown.print(&piece)? == Reader::Gone {
                            return Ok(());
                        }
                    }
                }
            }
        }
    })
}

/// What is shown, and how.
struct Shown {
    ui: Ui,
    raw: bool,
    /// `None`: both streams.
    only: Option<Stream>,
}

impl Shown {
    fn shows(&self, stream: Stream) -> bool {
        self.only.is_none_or(|only| only == stream)
    }

    fn tell_skipped(&self, bytes: u64) {
        if bytes > 0 {
            self.ui
                .note(&format!("sandbox: {bytes} bytes are not kept"));
        }
    }

    fn print(&self, piece: &OutputPiece) -> Result<Reader, Failure> {
        if self.ui.is_json() {
            return self.print_json(piece);
        }
        self.tell_skipped(piece.skipped);
        if !self.shows(piece.stream) {
            return Ok(Reader::There);
        }
        let is_terminal = match piece.stream {
            Stream::Stdout => io::stdout().is_terminal(),
            Stream::Stderr => io::stderr().is_terminal(),
        };
        let passed = if is_terminal && !self.raw {
            let text = ui::plain(&String::from_utf8_lossy(&piece.bytes));
            ui::pass_on(piece.stream, text.as_bytes())
        } else {
            ui::pass_on(piece.stream, &piece.bytes)
        };
        match passed {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => {
                Err(Failure::of(Kind::Sandbox, &error).while_doing("cannot write the output"))
            }
        }
    }

    /// Prints one document a line.
    fn print_json(&self, piece: &OutputPiece) -> Result<Reader, Failure> {
        if !self.shows(piece.stream) {
            return Ok(Reader::There);
        }
        let stream = match piece.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let mut document = json!({ "stream": stream, "skipped_bytes": piece.skipped });
        match std::str::from_utf8(&piece.bytes) {
            Ok(text) => document["text"] = text.into(),
            Err(_) => document["base64"] = BASE64_STANDARD.encode(&piece.bytes).into(),
        }
        ui::print(&format!("{document}\n"))
    }
}
