//! The signals that end an operation, as they end any program.

use std::{fs, future::poll_fn, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Kind};

/// Listens for the signals that ask a program to end.
pub(super) struct Signals(Vec<(u8, Signal)>);

impl Signals {
    /// Starts to listen. The handlers stay for the life of the process: a second Ctrl-C cannot
    /// interrupt the settlement, it is only heard again.
    pub(super) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        let mut heard = Vec::new();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let Ok(number) = u8::try_from(kind.as_raw_value()) else {
                continue;
            };
            // Whoever started us with it ignored, as nohup(1) does, wants us to go on.
            if ignored & (1 << (number - 1)) != 0 {
                continue;
            }
            let listening = signal(kind).map_err(|error| {
                Failure::of(Kind::Sandbox, &error).while_doing("cannot listen for signals")
            })?;
            heard.push((number, listening));
        }
        Ok(Self(heard))
    }

    /// Waits for the next of them, and returns its number.
    pub(super) async fn next(&mut self) -> u8 {
        poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Returns the set of ignored signals, the lowest bit for signal 1: proc(5).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok())
        .unwrap_or(0)
}
