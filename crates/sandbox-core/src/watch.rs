//! Watches a running guest: captures its output, meters it, and guards the disk limit.

use std::{path::PathBuf, sync::Arc};

use sandbox_isolation::{Ended, Observer};
use sandbox_monitor::OperationMeter;
use sandbox_rollback::Transaction;
use sandbox_types::{Bytes, CapturedOutput, CgroupPaths, Execution, LimitKind, Limits, Stream};

use crate::{
    caller::Caller,
    course::{Course, Sampler},
    orders::Orders,
    redaction::{RedactedStream, Redactor},
};

/// What an operation may add to the workspace.
struct Disk<'a> {
    transaction: &'a Transaction,
    root_pid: u32,
    bytes: u64,
    inodes: u64,
}

impl Disk<'_> {
    /// Returns the limit that the upper layer is over. Deleted files that are open still count.
    fn exceeded(&self) -> Option<LimitKind> {
        // What cannot be counted now is decided exactly at the commit.
        let size = self.transaction.size(self.bytes, self.inodes).ok()?;
        if size.bytes > self.bytes {
            return Some(LimitKind::Disk);
        }
        if size.inodes > self.inodes {
            return Some(LimitKind::Inodes);
        }
        let deleted = sandbox_isolation::deleted_open_bytes(self.root_pid);
        (size.bytes.saturating_add(deleted) > self.bytes).then_some(LimitKind::Disk)
    }
}

/// The observer of one operation.
pub(crate) struct Watch<'a> {
    caller: &'a mut dyn Caller,
    meter: OperationMeter,
    sampler: Sampler<'a>,
    stdout: CapturedOutput,
    stderr: CapturedOutput,
    output_limit: Bytes,
    orders: Option<Orders>,
    redacted: Option<[RedactedStream; 2]>,
    processes: Option<u32>,
    disk: Option<Disk<'a>>,
    suspension: PathBuf,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        root_pid: u32,
        (caller, sampler): (&'a mut dyn Caller, Sampler<'a>),
        limits: &Limits,
        transaction: Option<&'a Transaction>,
    ) -> Self {
        let disk = transaction.map(|transaction| Disk {
            transaction,
            root_pid,
            bytes: limits.disk.map_or(u64::MAX, |limit| limit.value.get()),
            inodes: limits.inodes.map_or(u64::MAX, |limit| limit.value),
        });
        let suspension = sampler.suspension_file();
        Self {
            caller,
            meter: OperationMeter::new(root_pid, CgroupPaths::default()),
            sampler,
            stdout: CapturedOutput::default(),
            stderr: CapturedOutput::default(),
            output_limit: limits.output,
            processes: limits.processes.map(|limit| limit.value),
            disk,
            orders: None,
            redacted: None,
            suspension,
        }
    }

    /// Lets other processes end the operation.
    pub(crate) fn obey(&mut self, orders: Orders) {
        self.orders = Some(orders);
    }

    /// Keeps secrets out of all that is printed.
    pub(crate) fn redact(&mut self, redactor: Option<&Arc<Redactor>>) {
        self.redacted = redactor.map(|it| [RedactedStream::new(it), RedactedStream::new(it)]);
    }

    /// Gives out what was held back of the output.
    fn finish_output(&mut self) {
        let [stdout, stderr] = match &mut self.redacted {
            Some(streams) => streams.each_mut().map(RedactedStream::finish),
            None => return,
        };
        self.printed(Stream::Stdout, &stdout);
        self.printed(Stream::Stderr, &stderr);
    }

    fn printed(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
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

    /// Returns what was seen in all. The cgroups must still be there.
    pub(crate) fn execution(
        mut self,
        ended: Ended,
        cgroups: CgroupPaths,
        course: &mut Course,
    ) -> Execution {
        self.finish_output();
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
        let limit = self.processes.map(u64::from);
        // Where no cgroup tells what was refused, so many were seen at once.
        let is_reached = ended.limits_reached.contains(&LimitKind::Processes)
            || limit.is_some_and(|limit| usage.processes_peak >= limit);
        Execution {
            exit: killed.map_or(ended.exit, |order| order.exit(ended.exit)),
            usage,
            limits_reached: if is_reached {
                vec![LimitKind::Processes]
            } else {
                Vec::new()
            },
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
        let streams = self.redacted.as_mut();
        match streams.map(|[stdout, stderr]| match stream {
            Stream::Stdout => stdout.push(bytes),
            Stream::Stderr => stderr.push(bytes),
        }) {
            Some(bytes) => self.printed(stream, &bytes),
            None => self.printed(stream, bytes),
        }
    }

    fn takes_output(&mut self) -> bool {
        self.caller.takes_output()
    }

    fn signal(&mut self) -> Option<i32> {
        self.orders.as_mut()?.signal()
    }

    fn is_suspended(&mut self) -> bool {
        // Where no cgroup can be frozen, its processes are stopped one by one.
        self.suspension.exists()
    }

    fn tick(&mut self, cgroups: &CgroupPaths) -> Option<LimitKind> {
        self.meter.set_sources(cgroups.clone());
        self.meter.sample();
        self.sampler.tick(&mut self.meter);
        self.disk.as_ref()?.exceeded()
    }
}
