//! Answers to questions for names, over datagrams and over connections.

use std::{os::fd::AsFd as _, time::Instant};

use rustix::io::Errno;
use sandbox_types::NetworkRoute;

use super::{PER_TURN, Supervisor};
use crate::{
    egress::{
        connection::{Next, PATIENCE},
        dns,
        record::{Attempt, Fate},
        resolver,
    },
    sys::datagram,
};

impl Supervisor {
    pub(super) fn answer(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let answered = resolver::answer(packet, &self.list, &mut self.names);
        if let Some((name, denial)) = answered.denied {
            let attempt = Attempt {
                name: Some(name),
                address: None,
                port: 53,
                via: NetworkRoute::Dns,
                since: Instant::now(),
            };
            self.record.add(attempt, Fate::Denied(denial));
        }
        answered.reply
    }

    pub(super) fn answer_datagrams(&mut self) {
        let mut packet = [0; dns::QUERY_BYTES_MAX + 1];
        for _ in 0..PER_TURN {
            match datagram::receive(self.doors.datagrams.as_fd(), &mut packet) {
                Ok((length, mut envelope)) => {
                    let asked = packet.get(..length).unwrap_or_default();
                    if let Some(reply) = self.answer(asked) {
                        // A datagram may be lost; the client asks again.
                        datagram::reply(self.doors.datagrams.as_fd(), &reply, &mut envelope).ok();
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(_) => {}
            }
        }
    }

    /// Answers what a connection asks for: messages with their length before them (RFC 1035, section 4.2.2).
    pub(super) fn answer_stream(&mut self, id: u64) -> Next {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return Next::Stay;
            };
            if connection.down.is_pending() {
                return Next::Stay;
            }
            let &[high, low, ..] = connection.head.as_slice() else {
                return Next::Stay;
            };
            let end = 2 + usize::from(u16::from_be_bytes([high, low]));
            if end > dns::QUERY_BYTES_MAX {
                return Next::Reset;
            }
            if connection.head.len() < end {
                return Next::Stay;
            }
            let asked: Vec<u8> = connection.head.drain(..end).skip(2).collect();
            connection.deadline = Some(Instant::now() + PATIENCE);
            let Some(reply) = self.answer(&asked) else {
                return Next::Reset;
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                return Next::Stay;
            };
            let length = u16::try_from(reply.len()).unwrap_or(0);
            connection.down.push(&length.to_be_bytes());
            connection.down.push(&reply);
            if connection.down.flush(&connection.client).is_err() {
                return Next::Close;
            }
        }
    }
}
