//! `sandbox top`: what operations use, again and again.

mod screen;
mod table;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use sandbox_core::{LiveLook, LiveView};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use crate::{
    args::TopArgs,
    commands::{events::reader_gone, waiting},
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui::{self, Reader},
};
use screen::Screen;

/// How long it is from look to look.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(settings: &Settings, args: &TopArgs) -> Result<u8, Failure> {
    let mut view = LiveView::new(settings.home()?, settings.name()?);
    let ui = settings.ui;
    let every = args.interval.unwrap_or(INTERVAL);
    // Before the terminal is touched: what is wrong is told as usual.
    let first = view.look()?;
    // For a program that reads it, one look is the whole answer, unless it asks for more.
    let once = args.once || args.interval.is_none() && !io::stdout().is_terminal();
    match (ui.is_json(), once) {
        (true, true) => {
            ui::print_json(&first)?;
            return Ok(exit_codes::DONE);
        }
        (true, false) => {
            let look = |look: &LiveLook| ui::print_json_line(look);
            return again(&mut view, &first, every, look);
        }
        (false, _) => {}
    }
    let screen = if once {
        None
    } else {
        Screen::open(&settings.host)?
    };
    let Some(screen) = screen else {
        ui::print(&table::text(&first, None, ui))?;
        return Ok(exit_codes::DONE);
    };
    let draw = |look: &LiveLook| screen.draw(&table::text(look, screen.size(), ui));
    again(&mut view, &first, every, draw)
}

/// Shows look after look, until Ctrl-C or q is typed, or until nobody reads.
fn again(
    view: &mut LiveView,
    first: &LiveLook,
    every: Duration,
    show: impl Fn(&LiveLook) -> Result<Reader, Failure>,
) -> Result<u8, Failure> {
    waiting::runtime_with_all()?.block_on(async {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::of(Kind::Sandbox, &error).while_doing("cannot listen for signals")
            })
        };
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let mut resized = listen(SignalKind::window_change())?;
        let mut reader_gone = std::pin::pin!(reader_gone());
        let mut quit = std::pin::pin!(screen::quit_typed());
        let mut clock = interval(every);
        // A host that was asleep is looked at once, not once for each second that it slept.
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock.tick().await;
        if show(first)? == Reader::Gone {
            return Ok(exit_codes::DONE);
        }
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(exit_codes::DONE),
                _ = terminate.recv() => return Ok(exit_codes::DONE),
                _ = hangup.recv() => return Ok(exit_codes::DONE),
                () = &mut reader_gone => return Ok(exit_codes::DONE),
                () = &mut quit => return Ok(exit_codes::DONE),
                _ = resized.recv() => {}
                _ = clock.tick() => {}
            }
            if show(&view.look()?)? == Reader::Gone {
                return Ok(exit_codes::DONE);
            }
        }
    })
}
