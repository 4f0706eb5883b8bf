//! From what a client asks for to a connection outside, or to a refusal.

use std::{collections::VecDeque, net::IpAddr, time::Instant};

use rustix::event::epoll::EventFlags;
use sandbox_types::{HostName, NetworkRoute};

use super::{FOUND_HOLDS, Supervisor};
use crate::egress::{
    connection::{Dialled, Next, PATIENCE, REACH_TIME, Side, Stage},
    handshake::{self, Reply, Request},
    lookup::Found,
    names::Meaning,
    policy::{self, Denial, Target},
    record::{Attempt, Fate},
};

impl Supervisor {
    /// Decides about what a connection is to reach, and goes on with it.
    pub(super) fn reach(
        &mut self,
        id: u64,
        target: Result<Target, (Option<IpAddr>, Denial)>,
        port: u16,
        via: NetworkRoute,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let asked = match &target {
            Ok(target) => Some(target.clone()),
            Err((address, _)) => address.map(Target::Address),
        };
        let now = Instant::now();
        connection.attempt = Some(Attempt::new(asked.as_ref(), port, via, now));
        connection.deadline = Some(now + REACH_TIME);
        let checked = target.map_err(|(_, denial)| denial).and_then(|target| {
            policy::check(&self.list, &target, port)?;
            Ok(target)
        });
        match checked {
            Err(denial) => self.refuse(id, Fate::Denied(denial)),
            Ok(Target::Address(address)) => {
                let all = policy::to_dial(&self.list, address, port);
                self.dial(id, all);
            }
            Ok(Target::Name(name)) => {
                connection.stage = Stage::LookUp;
                self.watch(id);
                match self.found.get(&name) {
                    Some((since, found)) if since.elapsed() < FOUND_HOLDS => {
                        let found = found.clone();
                        self.go_on(id, &name, &found);
                    }
                    Some(_) | None => {
                        let waiting = self.waiting.entry(name.clone()).or_default();
                        waiting.push(id);
                        if waiting.len() == 1 {
                            self.lookups.ask(name);
                        }
                    }
                }
            }
        }
    }

    /// Hands looked-up addresses to those who wait for them.
    pub(super) fn take_found(&mut self) {
        for (name, found) in self.lookups.take() {
            let waiting = self.waiting.remove(&name).unwrap_or_default();
            self.found
                .retain(|_, (since, _)| since.elapsed() < FOUND_HOLDS);
            self.found
                .insert(name.clone(), (Instant::now(), found.clone()));
            for id in waiting {
                self.go_on(id, &name, &found);
            }
        }
    }

    /// Dials the addresses that may be dialled. What is checked is what is dialled: nothing is looked up twice.
    pub(super) fn go_on(&mut self, id: u64, name: &HostName, found: &Found) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let port = connection
            .attempt
            .as_ref()
            .map_or(0, |attempt| attempt.port);
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(why) => return self.refuse(id, Fate::Failed(why.clone())),
        };
        let mut denied = None;
        let mut allowed = VecDeque::new();
        for address in addresses {
            match policy::check_resolved(&self.list, name, *address, port) {
                Ok(()) => allowed.push_back(*address),
                Err(denial) => denied = Some((*address, denial)),
            }
        }
        match denied {
            Some((address, denial)) if allowed.is_empty() => {
                if let Some(attempt) = self
                    .connections
                    .get_mut(&id)
                    .and_then(|it| it.attempt.as_mut())
                {
                    attempt.address = Some(address.to_string());
                }
                self.refuse(id, Fate::Denied(denial));
            }
            Some(_) | None => self.dial(id, allowed),
        }
    }

    pub(super) fn dial(&mut self, id: u64, left: VecDeque<IpAddr>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let until = connection
            .deadline
            .unwrap_or_else(|| Instant::now() + REACH_TIME);
        connection.stage = Stage::Dial { left, until };
        self.dial_next(id, "the name has no address".to_owned());
    }

    pub(super) fn dial_next(&mut self, id: u64, last: String) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.dial(last) {
            Ok(Dialled::Answered) => self.dialled(id),
            Ok(Dialled::Waiting) => self.watch(id),
            Err(why) => self.refuse(id, Fate::Failed(why)),
        }
    }

    /// Reports a connection that comes to nothing, and tells the client in its own protocol.
    pub(super) fn refuse(&mut self, id: u64, fate: Fate) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let reply = match fate {
            Fate::Denied(_) => Reply::Denied,
            Fate::Failed(_) | Fate::Allowed { .. } => Reply::Unreachable,
        };
        let via = connection
            .attempt
            .as_ref()
            .map_or(NetworkRoute::Direct, |it| it.via);
        if let Some(attempt) = connection.attempt.take() {
            self.record.add(attempt, fate);
        }
        self.say_farewell(id, handshake::reply(via, reply));
    }

    /// Ends a connection with a last answer; without one it breaks.
    pub(super) fn say_farewell(&mut self, id: u64, answer: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if answer.is_empty() {
            return self.end(id, Next::Reset);
        }
        connection.server = None;
        connection.watched[1] = None;
        connection.stage = Stage::Farewell;
        connection.deadline = Some(Instant::now() + PATIENCE);
        connection.down.push(answer);
        let next = connection.farewell(&mut self.scratch);
        self.end(id, next);
    }

    pub(super) fn dialled(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Err(why) = connection.dialled() {
            return self.dial_next(id, why);
        }
        let via = connection
            .attempt
            .as_ref()
            .map_or(NetworkRoute::Direct, |it| it.via);
        connection.start_relay(handshake::reply(via, Reply::Connected));
        let both = EventFlags::IN | EventFlags::OUT;
        // Most clients speak first; a server that does is heard when it is watched.
        let next = connection.relay(Side::Client, both, &mut self.scratch);
        self.end(id, next);
    }

    pub(super) fn ask_for(&mut self, id: u64, request: Request) {
        let target = match request.target {
            None => Err((None, Denial::NoHost)),
            Some(Target::Name(name)) => Ok(Target::Name(name)),
            Some(Target::Address(address)) => match self.names.meaning(address) {
                Meaning::Gateway | Meaning::Unused => Err((Some(address), Denial::Unused)),
                Meaning::Name(name) => Ok(Target::Name(name)),
                Meaning::Address(address) => Ok(Target::Address(address)),
            },
        };
        self.reach(id, target, request.port, request.via);
    }
}
