//! Notes what the guest's own kernel has refused.

use std::time::Instant;

use rustix::{io::Errno, net::RecvFlags};
use sandbox_types::NetworkRoute;

use super::{PER_TURN, Supervisor};
use crate::egress::{
    names::Meaning,
    policy::{self, Denial, Target},
    record::{Attempt, Fate},
    refusals::{self, Attempted},
};

impl Supervisor {
    /// Takes what has come without waiting. What the kernel had no room for was refused all the same.
    pub(super) fn note_refusals(&mut self) {
        let mut packet = [0; refusals::PACKET_BYTES];
        for _ in 0..PER_TURN {
            let Some(socket) = &self.doors.refusals else {
                return;
            };
            match rustix::net::recv(socket, &mut packet, RecvFlags::empty()) {
                Ok((length, _)) => {
                    let packet = packet.get(..length).unwrap_or_default();
                    self.note_refusal(packet);
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn note_refusal(&mut self, packet: &[u8]) {
        let Some((attempted, to)) = refusals::read(packet) else {
            return;
        };
        let target = match self.names.meaning(to.ip()) {
            Meaning::Name(name) => Some(Target::Name(name)),
            Meaning::Address(address) => Some(Target::Address(address)),
            Meaning::Gateway | Meaning::Unused => None,
        };
        let (via, denial) = match (attempted, &target) {
            (Attempted::Datagram, _) => (NetworkRoute::Datagram, Denial::Datagram),
            (Attempted::Connection, None) => (NetworkRoute::Direct, Denial::Unused),
            (Attempted::Connection, Some(target)) => {
                match policy::check(&self.list, target, to.port()) {
                    Err(denial) => (NetworkRoute::Direct, denial),
                    // A port of a pattern for all ports that could not be opened: the question before it was noted.
                    Ok(()) => return,
                }
            }
        };
        let target = target.unwrap_or(Target::Address(to.ip()));
        let attempt = Attempt::new(Some(&target), to.port(), via, Instant::now());
        self.record.add(attempt, Fate::Denied(denial));
    }
}
