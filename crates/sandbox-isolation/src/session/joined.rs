//! A launch into a confinement that somebody else has built.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    time::{Duration, Instant},
};

use rustix::{
    fs::{MemfdFlags, SealFlags},
    io::Errno,
    pipe::PipeFlags,
    process::Pid,
};

use super::{
    layers::{Identity, Mounted},
    wire::{self, Answer, Connection},
};
use crate::{
    egress::Egress,
    launch::{
        caller::Ids,
        error::LaunchError,
        meter::Meter,
        recipe::When,
        run::Confined,
        start::{self, FOUND_COUNTS, no_channel},
        tree::Tree,
    },
    plan::{LaunchPlan, WorkspaceMode},
    stdio::Streams,
    sys::{memory, process},
};

/// An operation that is ready to be sent to an init.
pub(crate) struct Order {
    /// The words, and how many.
    file: OwnedFd,
    length: u64,
    own: OwnedFd,
    status: (File, OwnedFd),
    streams: Streams,
    meter: Meter,
}

/// Init of a confinement that is ours now, if we use it.
pub(crate) struct Grant {
    tree: Tree,
    begin: OwnedFd,
    /// What is mounted over the workspace, if anything.
    layers: Option<Mounted>,
    /// Where the sockets of its network are found, if that leads anywhere.
    network: Option<OwnedFd>,
    /// Since when it may be what the host was.
    since: Instant,
}

/// Why there is no confinement to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The keeper has none yet.
    Busy,
    /// The keeper is none for this process.
    Foreign,
    /// The keeper is dead, or ending.
    Gone,
}

/// How much longer to wait for each operation that waits already: they get theirs one after the other, and who builds
/// its own meanwhile takes the time for that from all of them.
const PATIENCE_IN_QUEUE: Duration = Duration::from_millis(100);

/// How often who waits makes sure that nothing was said yet: what comes then is no older than that.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits for the keeper's answer.
///
/// It was asked at `asked`, and may have answered any time since.
pub(crate) fn await_grant(
    keeper: Connection,
    patience: Duration,
    asked: Instant,
) -> Result<Grant, Refusal> {
    let mut deadline = Instant::now() + patience;
    let mut since = asked;
    loop {
        if keeper.is_silent() {
            since = Instant::now();
        }
        return match keeper.await_answer(Some(deadline.min(since + LOOK_EVERY))) {
            Some((Answer::Queued(ahead), _)) => {
                deadline += PATIENCE_IN_QUEUE * ahead;
                continue;
            }
            Some((Answer::Granted(pid, upper), descriptors)) => {
                let grant = taken_over(keeper, (pid, upper), descriptors, since);
                grant.ok_or(Refusal::Gone)
            }
            Some((Answer::Refused { foreign: true }, _)) => Err(Refusal::Foreign),
            // Readable without an answer: it was closed.
            None if !keeper.is_silent() => Err(Refusal::Gone),
            None if Instant::now() < deadline => continue,
            Some(_) | None => Err(Refusal::Busy),
        };
    }
}

fn taken_over(
    keeper: Connection,
    (init, upper): (Pid, Option<Identity>),
    descriptors: Vec<OwnedFd>,
    since: Instant,
) -> Option<Grant> {
    let mut descriptors = descriptors.into_iter();
    let (begin, handle) = (descriptors.next()?, descriptors.next()?);
    let layers = match upper {
        Some(upper) => Some(Mounted {
            upper,
            lock: descriptors.next()?,
        }),
        None => None,
    };
    Some(Grant {
        tree: Tree::taken_over(init, handle, keeper),
        begin,
        layers,
        network: descriptors.next(),
        since,
    })
}

impl Grant {
    /// Returns the lock of the layers that are mounted in it.
    pub(crate) fn layers_lock(&self) -> Option<OwnedFd> {
        self.layers.as_ref()?.lock.try_clone().ok()
    }

    /// Returns whether the host may be taken for what it was when the keeper looked.
    pub(crate) fn is_fresh(&self) -> bool {
        self.since.elapsed() <= FOUND_COUNTS
    }

    /// Returns whether the layers of `plan` are those that are mounted in it.
    pub(crate) fn has_layers_of(&self, plan: &LaunchPlan) -> bool {
        match (&plan.workspace_mode, &self.layers) {
            (WorkspaceMode::Overlay { upper, .. }, Some(mounted)) => {
                Identity::of(upper).is_ok_and(|upper| upper == mounted.upper)
            }
            (WorkspaceMode::Direct | WorkspaceMode::ReadOnly, None) => true,
            (WorkspaceMode::Overlay { .. }, None)
            | (WorkspaceMode::Direct | WorkspaceMode::ReadOnly, Some(_)) => false,
        }
    }
}

impl Order {
    /// Lays out the operation of `plan`, whose workspace has to be looked at for that.
    pub(crate) fn of(plan: &LaunchPlan) -> Result<Self, LaunchError> {
        let workspace = fs::symlink_metadata(&plan.workspace).map_err(|error| {
            let path = plan.workspace.display();
            LaunchError::new(format!("use {path} as the workspace"), error)
        })?;
        let ids = Ids::of(&workspace, plan.host_ids);
        let words = start::order(plan, &ids, When::Ahead)?;
        let (status, their_status) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(no_channel)?;
        Ok(Self {
            file: sealed(&words).map_err(no_channel)?,
            length: words.len() as u64,
            own: start::own_handle()?,
            status: (status.into(), their_status),
            streams: start::open_streams(plan.stdin.clone(), &ids)?,
            meter: Meter::prepare(&plan.name, &plan.limits, workspace.dev())?,
        })
    }

    /// Sends it; the guest starts. `None` if there is nobody any more to send it to: then nothing was started.
    pub(crate) fn send(
        self,
        plan: &LaunchPlan,
        grant: Grant,
    ) -> Result<Option<Confined>, LaunchError> {
        let Grant {
            tree,
            begin,
            network,
            ..
        } = grant;
        let parts = (self.streams, self.meter, plan.limits.clone());
        let mut confined = Confined::of(tree, self.status.0, parts);
        let egress = Egress::start(&plan.network, network)?;
        confined.set_network(start::has_own_network(plan), egress);
        confined.enforcement.missing.extend(start::uncounted(plan));
        if let Err(error) = confined.attach() {
            // What is dead can be put nowhere.
            return if confined.is_dead() {
                Ok(None)
            } else {
                Err(error)
            };
        }
        let ends = confined.streams.guest_ends();
        let numbers = [Some(ends.output), Some(ends.error), ends.input];
        let borrow = |number| -> BorrowedFd<'_> { process::borrow(number) };
        let all: Vec<BorrowedFd<'_>> = [self.file.as_fd(), self.own.as_fd(), self.status.1.as_fd()]
            .into_iter()
            .chain(numbers.into_iter().flatten().map(borrow))
            .collect();
        let sent = wire::send(begin.as_fd(), &self.length.to_ne_bytes(), &all);
        confined.streams.close_guest_ends();
        confined.order = Some(begin);
        Ok(sent.is_ok().then_some(confined))
    }
}

/// Returns a file of ours with `words` in it that nobody can change.
fn sealed(words: &[u64]) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create(c"sandbox-order", flags)?;
    let mut rest = memory::bytes(words);
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}
