//! One record of the usage history: what was used in a span of time. Samples, ends of operations and
//! the summaries of minutes and hours are all of this one kind, so that any of them can be added up.
//!
//! The bytes are specified in `docs/reference/history-format.md`.

use jiff::Timestamp;
use sandbox_types::{OperationId, OperationReport, Outcome};

use super::{
    buckets::{BUCKETS, Buckets},
    outcomes::Outcomes,
};

/// The length of every record in the file.
pub(crate) const RECORD_BYTES: usize = 512;
/// The version of this form.
pub const HISTORY_FORMAT: u8 = 1;

const MAGIC: [u8; 4] = *b"SBXU";
const CHECKSUM_AT: usize = RECORD_BYTES - 4;
const OUTCOMES_AT: usize = 88;
const BUCKETS_AT: usize = 184;
const _: () = assert!(
    BUCKETS_AT + 3 * 2 * BUCKETS == CHECKSUM_AT,
    "the layout has no gap"
);

/// How much time a record sums up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub enum Resolution {
    /// A sample of an operation, or its end.
    #[default]
    Single,
    /// All that ended in one minute.
    Minute,
    /// All that ended in one hour.
    Hour,
    /// All that is older than the oldest hour that is kept.
    Before,
}

/// The first process of a guest, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GuestProcess {
    /// Its number outside.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

/// The sum and the highest of one figure of the operations that ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Total {
    /// All together.
    pub sum: u64,
    /// The highest.
    pub max: u64,
}

/// What was used in a span of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsageRecord {
    /// How much time it sums up.
    pub resolution: Resolution,
    /// In milliseconds since 1970: a single record's end, else the beginning of the minute or hour.
    pub at_ms: u64,
    /// The mark of the operation that a single record is about; see [`operation_mark`].
    pub operation: u64,
    /// The first process of the guest, if that runs.
    pub guest: Option<GuestProcess>,
    /// How many single records are summed up here.
    pub samples: u32,
    /// Alerts that were raised in the span.
    pub alerts: u32,
    /// Most processes and threads at once.
    pub tasks_peak: u32,
    /// How long operations ran in the span, together, in microseconds.
    pub span_us: u64,
    /// CPU time that was used in the span, in microseconds.
    pub cpu_us: u64,
    /// Bytes read from storage in the span.
    pub io_read_bytes: u64,
    /// Bytes written to storage in the span.
    pub io_write_bytes: u64,
    /// Highest memory use of one operation.
    pub memory_peak_bytes: u64,
    /// How the operations ended that ended in the span.
    pub outcomes: Outcomes,
    /// Their wall times, in microseconds.
    pub wall_us: Total,
    /// Their CPU times, in microseconds.
    pub operation_cpu_us: Total,
    /// The sum of their memory peaks; the highest is [`Self::memory_peak_bytes`].
    pub memory_sum_bytes: u64,
    /// The bytes that they changed in the workspace.
    pub written_bytes: Total,
    /// How often each wall time, CPU time and memory peak occurred.
    pub buckets: [Buckets; 3],
}

/// Which of [`UsageRecord::buckets`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    Wall = 0,
    Cpu = 1,
    Memory = 2,
}

/// The unit of the first bucket: 64 microseconds, 64 KiB.
pub(crate) const UNIT_SHIFT: [u32; 3] = [6, 6, 16];

impl UsageRecord {
    /// Returns the record of an operation's end. `used_before` is what its samples have already.
    pub fn of_end(report: &OperationReport, used_before: &Self) -> Self {
        let microseconds = |ms: f64| whole(ms * 1000.0);
        let usage = &report.usage;
        let (wall_us, cpu_us) = (microseconds(report.duration_ms), microseconds(usage.cpu_ms));
        let total = |value| Total {
            sum: value,
            max: value,
        };
        let mut record = Self {
            operation: operation_mark(report.id()),
            at_ms: milliseconds(report.started_at) + wall_us / 1000,
            samples: 1,
            alerts: small(report.alerts.len() as u64).saturating_sub(used_before.alerts),
            tasks_peak: small(usage.processes_peak),
            span_us: wall_us.saturating_sub(used_before.span_us),
            cpu_us: cpu_us.saturating_sub(used_before.cpu_us),
            io_read_bytes: usage
                .io_read_bytes
                .saturating_sub(used_before.io_read_bytes),
            io_write_bytes: usage
                .io_write_bytes
                .saturating_sub(used_before.io_write_bytes),
            memory_peak_bytes: usage.memory_peak_bytes,
            outcomes: Outcomes::one(report.outcome),
            wall_us: total(wall_us),
            operation_cpu_us: total(cpu_us),
            memory_sum_bytes: usage.memory_peak_bytes,
            written_bytes: total(usage.disk_written_bytes),
            ..Self::default()
        };
        record.count([wall_us, cpu_us, usage.memory_peak_bytes]);
        record
    }

    /// Returns the record of the end of an operation whose process was killed: what its samples say.
    pub fn of_killed(id: &OperationId, now: Timestamp, samples: &[Self]) -> Self {
        let mut sum = Self::default();
        for sample in samples {
            sum.add(sample);
        }
        let total = |value| Total {
            sum: value,
            max: value,
        };
        let mut record = Self {
            operation: operation_mark(id),
            at_ms: milliseconds(now),
            samples: 1,
            memory_peak_bytes: sum.memory_peak_bytes,
            outcomes: Outcomes::one(Outcome::Killed),
            wall_us: total(sum.span_us),
            operation_cpu_us: total(sum.cpu_us),
            memory_sum_bytes: sum.memory_peak_bytes,
            ..Self::default()
        };
        let figures = [sum.span_us, sum.cpu_us, sum.memory_peak_bytes];
        record.count(figures);
        record
    }

    fn count(&mut self, figures: [u64; 3]) {
        for ((buckets, value), unit) in self.buckets.iter_mut().zip(figures).zip(UNIT_SHIFT) {
            buckets.count(value >> unit);
        }
    }

    /// Returns when the span ended, or when the minute or hour began.
    pub fn at(&self) -> Timestamp {
        let ms = i64::try_from(self.at_ms).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    }

    /// Adds another record up. What only a single record has, the operation and the guest, stays.
    pub fn add(&mut self, other: &Self) {
        let add = u64::saturating_add;
        self.samples = self.samples.saturating_add(other.samples);
        self.alerts = self.alerts.saturating_add(other.alerts);
        self.tasks_peak = self.tasks_peak.max(other.tasks_peak);
        self.span_us = add(self.span_us, other.span_us);
        self.cpu_us = add(self.cpu_us, other.cpu_us);
        self.io_read_bytes = add(self.io_read_bytes, other.io_read_bytes);
        self.io_write_bytes = add(self.io_write_bytes, other.io_write_bytes);
        self.memory_peak_bytes = self.memory_peak_bytes.max(other.memory_peak_bytes);
        self.outcomes.add(&other.outcomes);
        self.wall_us.add(other.wall_us);
        self.operation_cpu_us.add(other.operation_cpu_us);
        self.memory_sum_bytes = add(self.memory_sum_bytes, other.memory_sum_bytes);
        self.written_bytes.add(other.written_bytes);
        for (buckets, others) in self.buckets.iter_mut().zip(&other.buckets) {
            buckets.add(others);
        }
    }

    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let resolution = match self.resolution {
            Resolution::Single => 0,
            Resolution::Minute => 1,
            Resolution::Hour => 2,
            Resolution::Before => 3,
        };
        let mut out = Writer(&mut bytes, 0);
        out.put(&MAGIC);
        out.put(&[HISTORY_FORMAT, resolution, 0, 0]);
        let guest = self.guest;
        for value in [self.at_ms, self.operation, guest.map_or(0, |it| it.started)] {
            out.put(&value.to_le_bytes());
        }
        for value in [
            guest.map_or(0, |it| it.pid),
            self.samples,
            self.alerts,
            self.tasks_peak,
        ] {
            out.put(&value.to_le_bytes());
        }
        for value in [
            self.span_us,
            self.cpu_us,
            self.io_read_bytes,
            self.io_write_bytes,
            self.memory_peak_bytes,
        ] {
            out.put(&value.to_le_bytes());
        }
        for count in self.outcomes.slots() {
            out.put(&count.to_le_bytes());
        }
        for value in [
            self.wall_us.sum,
            self.wall_us.max,
            self.operation_cpu_us.sum,
            self.operation_cpu_us.max,
            self.memory_sum_bytes,
            self.written_bytes.sum,
            self.written_bytes.max,
        ] {
            out.put(&value.to_le_bytes());
        }
        for count in self.buckets.iter().flat_map(Buckets::counts) {
            out.put(&count.to_le_bytes());
        }
        let checksum = checksum(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Returns the record in `bytes`; `None` if it is not as it was written.
    pub(crate) fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let mut input = Reader(bytes, CHECKSUM_AT);
        let stored = input.u32();
        if checksum(&bytes[..CHECKSUM_AT]) != stored
            || bytes[..4] != MAGIC
            || bytes[4] != HISTORY_FORMAT
        {
            return None;
        }
        let resolution = match bytes[5] {
            0 => Resolution::Single,
            1 => Resolution::Minute,
            2 => Resolution::Hour,
            3 => Resolution::Before,
            _ => return None,
        };
        input.1 = 8;
        let (at_ms, operation, started) = (input.u64(), input.u64(), input.u64());
        let pid = input.u32();
        let mut record = Self {
            resolution,
            at_ms,
            operation,
            guest: (pid != 0).then_some(GuestProcess { pid, started }),
            samples: input.u32(),
            alerts: input.u32(),
            tasks_peak: input.u32(),
            span_us: input.u64(),
            cpu_us: input.u64(),
            io_read_bytes: input.u64(),
            io_write_bytes: input.u64(),
            memory_peak_bytes: input.u64(),
            ..Self::default()
        };
        debug_assert_eq!(input.1, OUTCOMES_AT, "as the table in the docs has it");
        record.outcomes = Outcomes::of_slots(std::array::from_fn(|_| input.u32()));
        record.wall_us = input.total();
        record.operation_cpu_us = input.total();
        record.memory_sum_bytes = input.u64();
        record.written_bytes = input.total();
        debug_assert_eq!(input.1, BUCKETS_AT, "as the table in the docs has it");
        for buckets in &mut record.buckets {
            *buckets = Buckets::of_counts(std::array::from_fn(|_| input.u16()));
        }
        Some(record)
    }
}

impl Total {
    fn add(&mut self, other: Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }
}

struct Writer<'a>(&'a mut [u8; RECORD_BYTES], usize);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0[self.1..self.1 + bytes.len()].copy_from_slice(bytes);
        self.1 += bytes.len();
    }
}

struct Reader<'a>(&'a [u8; RECORD_BYTES], usize);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let at = self.1;
        self.1 += N;
        std::array::from_fn(|i| self.0[at + i])
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn total(&mut self) -> Total {
        let (sum, max) = (self.u64(), self.u64());
        Total { sum, max }
    }
}

/// Returns the mark that stands for an operation in the history: FNV-1a, 64 bits, of its id.
pub fn operation_mark(id: &OperationId) -> u64 {
    id.as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// Returns a time as the history has it; 0 for times before 1970.
pub(crate) fn milliseconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// Returns the CRC-32 of ISO 3309, as in zip and png.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        CRC_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8)
    })
}

static CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

pub(crate) fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates: negative and not a number are 0"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_zip() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn any_changed_bit_is_found() {
        let record = UsageRecord {
            at_ms: 7,
            cpu_us: 8,
            ..UsageRecord::default()
        };
        let good = record.encode();
        assert_eq!(UsageRecord::decode(&good), Some(record));
        for bit in 0..RECORD_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(UsageRecord::decode(&bad), None, "bit {bit}");
        }
        assert_eq!(UsageRecord::decode(&[0; RECORD_BYTES]), None);
    }
}
