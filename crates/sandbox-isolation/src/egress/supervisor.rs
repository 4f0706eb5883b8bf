//! The thread that accepts, checks, dials and relays for one guest; one for thousands of connections.

mod ask;
mod doors;
mod note;
mod reach;

use std::{
    collections::BTreeMap,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{
        PollFd, PollFlags, Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags},
};
use sandbox_types::{AllowList, HostName, NetworkRoute};

use self::doors::Doors;
use super::{
    Activity, PROXY_PORT, Ports, Stop,
    connection::{Connection, Next, Side, Stage},
    flow::PIECE_BYTES,
    handshake::{self, Progress, Step},
    lookup::{Found, Lookups},
    names::{Meaning, Names},
    netns::SOCKETS_MAX,
    policy::{Denial, Target},
    record::{Fate, Record},
};

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// From so many on, less is read at once, so that what waits in memory stays below 100 MiB.
const CONNECTIONS_MANY: usize = 64;
const PIECE_BYTES_MANY: usize = 8 * 1024;
/// Accepted or answered in one turn, before others have theirs.
const PER_TURN: usize = 64;
const EVENTS_PER_TURN: usize = 256;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long what a dead guest has sent is still delivered.
const DELIVERY_TIME: Duration = Duration::from_secs(1);
/// How long a looked-up name holds.
const FOUND_HOLDS: Duration = Duration::from_secs(10);

/// Numbers of what is watched; connections have the numbers behind, two each.
const STOP: u64 = 0;
const FOUND: u64 = 1;
const DATAGRAMS: u64 = 2;
/// Readable when the guest asks for a port, or when it hands out where its questions are read.
const QUESTIONS: u64 = 3;
/// Readable when the guest's own kernel has refused something.
const REFUSALS: u64 = 4;
const LISTENERS: u64 = 5;
const CONNECTIONS: u64 = 1024;

/// Supervises until it is told to end; tells what the guest did.
pub(super) fn run(list: AllowList, ports: Ports, channel: OwnedFd, stop: &Stop) -> Activity {
    let sockets = match await_sockets(&channel, stop) {
        Ok(Some(sockets)) => sockets,
        // The guest never was.
        Ok(None) => return Activity::default(),
        Err(errno) => return failed(Record::new(Instant::now()), errno),
    };
    let began = Instant::now();
    let supervisor =
        Doors::new(sockets, ports, channel).and_then(|doors| Supervisor::new(list, doors, began));
    let mut supervisor = match supervisor {
        Ok(supervisor) => supervisor,
        Err(errno) => return failed(Record::new(began), errno),
    };
    match supervisor.serve(stop) {
        Ok(()) => supervisor.finish(),
        Err(errno) => failed(supervisor.into_record(), errno),
    }
}

fn failed(record: Record, errno: Errno) -> Activity {
    Activity {
        failure: Some(errno.into()),
        ..record.finish()
    }
}

/// Waits for the sockets that the children hand out; `None` if they died before, or the end was asked for.
fn await_sockets(channel: &OwnedFd, stop: &Stop) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let wake = stop.wake();
    let mut fds = [
        PollFd::new(channel, PollFlags::IN),
        PollFd::new(&wake, PollFlags::IN),
    ];
    while let Err(errno) = rustix::event::poll(&mut fds, None) {
        if errno != Errno::INTR {
            return Err(errno);
        }
    }
    if fds[0].revents().is_empty() {
        return Ok(None);
    }
    receive(channel, RecvFlags::empty())
}

/// Takes what a message hands out; `None` at the end of all messages.
pub(super) fn receive(channel: &OwnedFd, how: RecvFlags) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | how;
    let mut parts = [IoSliceMut::new(&mut byte)];
    if rustix::net::recvmsg(channel, &mut parts, &mut control, flags)?.bytes == 0 {
        return Ok(None);
    }
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    Ok(Some(sockets))
}

struct Supervisor {
    list: AllowList,
    names: Names,
    lookups: Lookups,
    /// What was looked up, and when.
    found: BTreeMap<HostName, (Instant, Found)>,
    /// Who waits for a look-up.
    waiting: BTreeMap<HostName, Vec<u64>>,
    record: Record,
    epoll: OwnedFd,
    doors: Doors,
    is_accepting: bool,
    connections: BTreeMap<u64, Connection>,
    next_id: u64,
    scratch: Vec<u8>,
}

impl Supervisor {
    fn new(list: AllowList, doors: Doors, began: Instant) -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &doors.datagrams,
            EventData::new_u64(DATAGRAMS),
            EventFlags::IN,
        )?;
        doors.watch_questions(&epoll)?;
        doors.watch_refusals(&epoll)?;
        let lookups = Lookups::new()?;
        epoll::add(
            &epoll,
            lookups.wake(),
            EventData::new_u64(FOUND),
            EventFlags::IN,
        )?;
        let mut supervisor = Self {
            list,
            names: Names::default(),
            lookups,
            found: BTreeMap::new(),
            waiting: BTreeMap::new(),
            record: Record::new(began),
            epoll,
            doors,
            is_accepting: false,
            connections: BTreeMap::new(),
            next_id: CONNECTIONS,
            scratch: vec![0; PIECE_BYTES],
        };
        supervisor.accept_more()?;
        Ok(supervisor)
    }

    /// Serves until the end is asked for and what there was to deliver is delivered.
    fn serve(&mut self, stop: &Stop) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            stop.wake(),
            EventData::new_u64(STOP),
            EventFlags::IN,
        )?;
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_PER_TURN);
        let mut end = None;
        let mut next_tick = Instant::now() + TICK;
        loop {
            let wait = (!self.connections.is_empty() || !self.is_accepting)
                .then(|| timespec(next_tick.saturating_duration_since(Instant::now())));
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                wait.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                match data.u64() {
                    STOP => {
                        epoll::delete(&self.epoll, stop.wake())?;
                        self.note_refusals();
                        end = Some(Instant::now() + DELIVERY_TIME);
                    }
                    FOUND => self.take_found(),
                    DATAGRAMS => self.answer_datagrams(),
                    QUESTIONS => self.answer_question(flags)?,
                    REFUSALS => self.note_refusals(),
                    number if number < CONNECTIONS => self.accept(number - LISTENERS)?,
                    number => self.advance(number, flags),
                }
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.give_up_late_ones(now);
                self.accept_more()?;
            }
            if let Some(end) = end {
                if now >= end || stop.is_at_once() {
                    return Ok(());
                }
                self.close_delivered();
                if self.connections.is_empty() {
                    return Ok(());
                }
                next_tick = next_tick.min(end);
            }
        }
    }

    /// Accepts on all ports again, if there is room.
    fn accept_more(&mut self) -> Result<(), Errno> {
        if self.is_accepting || self.connections.len() >= CONNECTIONS_MAX {
            return Ok(());
        }
        for (number, listener) in (LISTENERS..).zip(&self.doors.listeners) {
            epoll::add(
                &self.epoll,
                listener,
                EventData::new_u64(number),
                EventFlags::IN,
            )?;
        }
        self.is_accepting = true;
        Ok(())
    }

    fn stop_accepting(&mut self) -> Result<(), Errno> {
        if self.is_accepting {
            for listener in &self.doors.listeners {
                epoll::delete(&self.epoll, listener)?;
            }
            self.is_accepting = false;
        }
        Ok(())
    }

    fn accept(&mut self, index: u64) -> Result<(), Errno> {
        for _ in 0..PER_TURN {
            if self.connections.len() >= CONNECTIONS_MAX {
                return self.stop_accepting();
            }
            let listener = usize::try_from(index)
                .ok()
                .and_then(|it| self.doors.listeners.get(it));
            let Some(listener) = listener else {
                return Ok(());
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(listener, flags) {
                Ok(client) => self.welcome(client),
                Err(Errno::AGAIN) => return Ok(()),
                // Others wait until there are descriptors again.
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    return self.stop_accepting();
                }
                // That one is gone already.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Finds out what a new connection is for.
    fn welcome(&mut self, client: OwnedFd) {
        let asked = rustix::net::getsockname(&client)
            .ok()
            .and_then(|it| SocketAddr::try_from(it).ok());
        let Some(asked) = asked else {
            return;
        };
        let meaning = self.names.meaning(asked.ip());
        let id = self.next_id;
        self.next_id += 2;
        let stage = match (asked.port(), &meaning) {
            (53, _) => Stage::Dns,
            _ => Stage::Head { greeted: false },
        };
        self.connections.insert(id, Connection::new(client, stage));
        let target = match meaning {
            Meaning::Gateway if asked.port() == PROXY_PORT => None,
            Meaning::Gateway | Meaning::Unused => Some(Err((Some(asked.ip()), Denial::Unused))),
            Meaning::Name(name) => Some(Ok(Target::Name(name))),
            Meaning::Address(address) => Some(Ok(Target::Address(address))),
        };
        match target {
            Some(target) if asked.port() != 53 => {
                self.reach(id, target, asked.port(), NetworkRoute::Direct);
            }
            Some(_) | None => self.watch(id),
        }
    }

    /// Goes on with a connection after one of its sides was ready.
    fn advance(&mut self, number: u64, flags: EventFlags) {
        let id = number & !1;
        let side = if number == id {
            Side::Client
        } else {
            Side::Server
        };
        let pieces = if self.connections.len() > CONNECTIONS_MANY {
            PIECE_BYTES_MANY
        } else {
            PIECE_BYTES
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let scratch = self.scratch.get_mut(..pieces).unwrap_or_default();
        let next = match &connection.stage {
            Stage::Relay => connection.relay(side, flags, scratch),
            Stage::Farewell => connection.farewell(scratch),
            Stage::LookUp => Next::Stay,
            Stage::Dial { .. } => return self.dialled(id),
            Stage::Dns | Stage::Head { .. } => match connection.listen(scratch) {
                Next::Stay if matches!(connection.stage, Stage::Dns) => self.answer_stream(id),
                Next::Stay => return self.hear(id),
                gone @ (Next::Close | Next::Reset) => gone,
            },
        };
        self.end(id, next);
    }

    /// Reads what a client tells the proxy.
    fn hear(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Stage::Head { greeted } = &mut connection.stage else {
            return;
        };
        match handshake::read(&connection.head, *greeted) {
            Progress::More => self.end(id, Next::Stay),
            Progress::Wrong(answer) => self.say_farewell(id, &answer),
            Progress::Done(Step::Greeting(answer), used) => {
                *greeted = true;
                connection.head.drain(..used);
                connection.down.push(&answer);
                if connection.down.flush(&connection.client).is_err() {
                    return self.end(id, Next::Close);
                }
                self.hear(id);
            }
            Progress::Done(Step::Request(request), used) => {
                connection.head.drain(..used);
                self.ask_for(id, request);
            }
        }
    }

    /// Does what is next with a connection.
    fn end(&mut self, id: u64, next: Next) {
        if next == Next::Stay {
            return self.watch(id);
        }
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        if next == Next::Reset {
            connection.break_off();
        }
        if let Some(attempt) = connection.attempt.take() {
            let fate = match connection.stage {
                Stage::Relay => connection.fate(),
                Stage::LookUp | Stage::Dial { .. } => {
                    Fate::Failed("it was given up before it was reached".to_owned())
                }
                Stage::Dns | Stage::Head { .. } | Stage::Farewell => return,
            };
            self.record.add(attempt, fate);
        }
    }

    /// Watches a connection for what it waits for, and for nothing else: what is over is reported again and again.
    fn watch(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        for (index, side) in [Side::Client, Side::Server].into_iter().enumerate() {
            let wanted = Some(connection.wanted(side)).filter(|it| !it.is_empty());
            let socket = match side {
                Side::Client => Some(&connection.client),
                Side::Server => connection.server.as_ref(),
            };
            let Some(socket) = socket else {
                continue;
            };
            let data = EventData::new_u64(id + index as u64);
            let changed = match (connection.watched[index], wanted) {
                (before, wanted) if before == wanted => continue,
                (None, Some(flags)) => epoll::add(&self.epoll, socket, data, flags),
                (Some(_), Some(flags)) => epoll::modify(&self.epoll, socket, data, flags),
                (_, None) => epoll::delete(&self.epoll, socket),
            };
            if changed.is_err() {
                // It could never go on.
                return self.end(id, Next::Reset);
            }
            connection.watched[index] = wanted;
        }
    }

    fn give_up_late_ones(&mut self, now: Instant) {
        let late = |connection: &Connection| connection.deadline.is_some_and(|it| now >= it);
        let late: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| late(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            match self.connections.get(&id).map(|it| &it.stage) {
                Some(Stage::Dial { .. }) => {
                    self.dial_next(id, "it cannot be reached: no answer".to_owned());
                }
                Some(Stage::LookUp) => {
                    self.refuse(
                        id,
                        Fate::Failed("the name cannot be looked up: no answer".to_owned()),
                    );
                }
                Some(Stage::Dns | Stage::Head { .. } | Stage::Relay | Stage::Farewell) | None => {
                    self.end(id, Next::Reset);
                }
            }
        }
    }

    /// Closes what a dead guest needs no more.
    fn close_delivered(&mut self) {
        let delivered: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_delivered())
            .map(|(id, _)| *id)
            .collect();
        for id in delivered {
            self.end(id, Next::Close);
        }
    }

    fn into_record(mut self) -> Record {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            self.end(id, Next::Reset);
        }
        self.record
    }

    fn finish(self) -> Activity {
        let unseen = self.doors.refusals.is_none();
        Activity {
            unseen: unseen.then(|| Errno::AFNOSUPPORT.into()),
            ..self.into_record().finish()
        }
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}
