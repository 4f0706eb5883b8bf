//! What a keeper waits for.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::Keeper;

/// What is waited for, in the order of the descriptors.
#[derive(Clone, Copy)]
enum Event {
    Knock,
    Spare(usize),
    Places,
    Mounts,
    Guest(usize),
    Left(usize),
    Ended(usize),
    Gone(usize),
}

/// What has happened. Numbers are places in the keeper's lists, in rising order.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// How often somebody is at the door.
    pub(super) knocks: usize,
    pub(super) places: bool,
    pub(super) mounts: bool,
    /// Spares that have told something.
    pub(super) told: Vec<usize>,
    /// Guests that have asked, or are gone.
    pub(super) asked: Vec<usize>,
    /// Those who wait no longer.
    pub(super) left: Vec<usize>,
    /// Operations that have ended.
    pub(super) ended: Vec<usize>,
    /// Those who have gone after their operation.
    pub(super) gone: Vec<usize>,
}

impl Happened {
    fn note(&mut self, event: Event) {
        match event {
            Event::Knock => self.knocks += 1,
            Event::Places => self.places = true,
            Event::Mounts => self.mounts = true,
            Event::Spare(index) => self.told.push(index),
            Event::Guest(index) => self.asked.push(index),
            Event::Left(index) => self.left.push(index),
            Event::Ended(index) => self.ended.push(index),
            Event::Gone(index) => self.gone.push(index),
        }
    }
}

impl Keeper<'_> {
    /// Waits for something.
    pub(super) fn await_events(&self) -> io::Result<Happened> {
        let mut watched: Vec<(Event, BorrowedFd<'_>, PollFlags)> = Vec::new();
        if let Some(place) = &self.place {
            watched.push((Event::Knock, place.socket.as_fd(), PollFlags::IN));
            let watch = self.watch.iter();
            watched.extend(watch.map(|it| (Event::Places, it.as_fd(), PollFlags::IN)));
            watched.push((Event::Mounts, self.mounts.as_fd(), PollFlags::PRI));
        }
        for (index, spare) in self.spares.iter().enumerate() {
            let status = spare.built.status.as_fd();
            watched.push((Event::Spare(index), status, PollFlags::IN));
        }
        for (index, guest) in self.guests.iter().enumerate() {
            watched.push((Event::Guest(index), guest.as_fd(), PollFlags::IN));
        }
        for (index, guest) in self.waiting.iter().enumerate() {
            // Who waits says nothing more.
            watched.push((Event::Left(index), guest.as_fd(), PollFlags::IN));
        }
        for (index, operation) in self.operations.iter().enumerate() {
            if let Ok(handle) = operation.tree.handle() {
                watched.push((Event::Ended(index), handle, PollFlags::IN));
            }
        }
        for (index, caller) in self.leaving.iter().enumerate() {
            watched.push((Event::Gone(index), caller.as_fd(), PollFlags::IN));
        }
        let mut fds: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        match rustix::event::poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut happened = Happened::default();
        for ((event, ..), fd) in watched.iter().zip(&fds) {
            if !fd.revents().is_empty() {
                happened.note(*event);
            }
        }
        Ok(happened)
    }

    /// How long nothing needs to be done if nothing happens; `None` for ever.
    fn timeout(&self) -> Option<Timespec> {
        let idle = self
            .operations
            .is_empty()
            .then(|| self.used_at + self.idle_timeout);
        let there = self.place.is_some();
        let builds = there && !self.is_enough();
        let next = [
            idle,
            builds.then_some(self.build_at),
            self.demand.changes_at().filter(|_| there),
            self.look_at.filter(|_| there),
        ];
        let next = next.into_iter().flatten().min()?;
        Timespec::try_from(next.saturating_duration_since(Instant::now())).ok()
    }
}
