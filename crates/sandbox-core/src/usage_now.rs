//! What an operation that runs uses now, whichever process carries it out.

use sandbox_monitor::OperationMeter;
use sandbox_types::CgroupPaths;
use serde::{Deserialize, Serialize};

use crate::suspend::RunningNow;

/// What the processes of an operation use now. Its report has what it used in all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageNow {
    /// CPU time so far of the processes that are there, and of their children that were waited for, in milliseconds.
    pub cpu_ms: f64,
    /// The sum of their resident memory: what several share counts for each.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u64,
}

impl RunningNow {
    /// Looks at what its processes use now; `None` if there are none (it is just starting, or its changes are being
    /// settled), or if they cannot be told apart from those of another operation of the same process.
    pub fn usage(&self) -> Option<UsageNow> {
        let first = sandbox_isolation::first_process_of(self.process.pid, self.id.as_str())?;
        let reading = OperationMeter::new(first, CgroupPaths::default()).reading();
        (reading.tasks > 0).then_some(UsageNow {
            cpu_ms: reading.cpu.as_secs_f64() * 1000.0,
            memory_bytes: reading.memory_bytes,
            tasks: reading.tasks,
        })
    }
}
