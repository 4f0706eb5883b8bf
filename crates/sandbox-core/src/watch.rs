//! Watches a running guest: captures its output, meters it, and guards the disk limit.

use sandbox_isolation::{Ended, Observer};
use sandbox_monitor::OperationMeter;
use sandbox_rollback::Transaction;
use sandbox_types::{Bytes, CapturedOutput, CgroupPaths, Execution, LimitKind, Limits, Stream};

use crate::{
    caller::Caller,
    course::{Course, Sampler},
    orders::Orders,
};

/// The most files and directories that one operation may add or change. More would take minutes to
/// look through, and more inodes than many file systems have to spare.
pub(crate) const INODES_MAX: u64 = 1_000_000;

/// The observer of one operation.
pub(crate) struct Watch<'a> {
    caller: &'a mut dyn Caller,
    meter: OperationMeter,
    sampler: Sampler<'a>,
    stdout: CapturedOutput,
    stderr: CapturedOutput,
    output_limit: Bytes,
    disk: Option<(&'a Transaction, u64)>,
    orders: Option<Orders>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        root_pid: u32,
        (caller, sampler): (&'a mut dyn Caller, Sampler<'a>),
        limits: &Limits,
        transaction: Option<&'a Transaction>,
    ) -> Self {
        let disk = limits
            .disk
            .and_then(|limit| Some((transaction?, limit.value.get())));
        Self {
            caller,
            meter: OperationMeter::new(root_pid, CgroupPaths::default()),
            sampler,
            stdout: CapturedOutput::default(),
            stderr: CapturedOutput::default(),
            output_limit: limits.output,
            disk,
            orders: None,
        }
    }

    /// Lets other processes end the operation.
    pub(crate) fn obey(&mut self, orders: Orders) {
        self.orders = Some(orders);
    }

    /// Returns what was seen in all. The cgroups must still be there.
    pub(crate) fn execution(
        mut self,
        ended: Ended,
        cgroups: CgroupPaths,
        course: &mut Course,
    ) -> Execution {
        self.meter.set_sources(cgroups);
        (course.watched, course.unwritten) = self.sampler.end();
        let mut usage = self.meter.finish(ended.usage);
        let network = ended.network.map(|activity| {
            usage.net_rx_bytes = activity.received_bytes;
            usage.net_tx_bytes = activity.sent_bytes;
            activity.report
        });
        course.killed = self.orders.and_then(Orders::end);
        let killed = course.killed.as_ref();
        Execution {
            exit: killed.map_or(ended.exit, |order| order.exit(ended.exit)),
            usage,
            network,
            violations: ended.violations,
            enforcement: ended.enforcement,
            stdout: self.stdout,
            stderr: self.stderr,
        }
    }
}

impl Observer for Watch<'_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let captured = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        captured.bytes += bytes.len() as u64;
        let limit = usize::try_from(self.output_limit.get()).unwrap_or(usize::MAX);
        let room = limit.saturating_sub(captured.data.len());
        captured
            .data
            .extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.caller.output(stream, bytes);
    }

    fn takes_output(&mut self) -> bool {
        self.caller.takes_output()
    }

    fn signal(&mut self) -> Option<i32> {
        self.orders.as_mut()?.signal()
    }

    fn tick(&mut self, cgroups: &CgroupPaths) -> Option<LimitKind> {
        self.meter.set_sources(cgroups.clone());
        self.meter.sample();
        self.sampler.tick(&mut self.meter);
        let (transaction, limit) = self.disk?;
        // What cannot be counted now is decided exactly at the commit.
        let size = transaction.size(limit).ok()?;
        (size.bytes > limit || size.inodes > INODES_MAX).then_some(LimitKind::Disk)
    }
}
