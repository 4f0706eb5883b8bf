//! A whole operation with a clock that the test moves.

use super::*;

const MIB: u64 = 1024 * 1024;

/// A limit of one core and of 100 MiB, thresholds of 80 percent, a sample every 10 seconds.
fn vigil() -> Vigil {
    let allowed = |amount, by: &str| Allowed {
        amount,
        by: by.to_owned(),
    };
    Vigil::new(
        &"op".parse().unwrap(),
        Timestamp::UNIX_EPOCH,
        Duration::from_secs(10),
        Thresholds {
            cpu_percent: 80.0,
            memory_percent: 80.0,
            hold: Duration::from_secs(10),
        },
        Allowance {
            cpu: allowed(100.0, "the CPU limit"),
            memory: allowed(100.0 * float(MIB), "the memory limit"),
        },
    )
}

fn at(seconds: u64, cpu: u64, memory_mib: u64) -> (Duration, Reading) {
    let reading = Reading {
        cpu: Duration::from_secs(cpu),
        memory_bytes: memory_mib * MIB + 7,
        memory_held_bytes: memory_mib * MIB,
        tasks: 3,
        io_read_bytes: seconds * 100,
        io_write_bytes: seconds * 10,
    };
    (Duration::from_secs(seconds), reading)
}

fn names(changes: &[AlertChange]) -> Vec<String> {
    let name = |change: &AlertChange| match change {
        AlertChange::Raised(alert) => format!("+{}", alert.metric.name()),
        AlertChange::Resolved(alert) => format!("-{}", alert.metric.name()),
    };
    changes.iter().map(name).collect()
}

#[test]
fn alerts_are_raised_and_resolved_once_each() {
    let mut vigil = vigil();
    let mut seen = Vec::new();
    // A core is busy from 10 to 40 seconds; memory is high from 30 seconds to the end.
    for (seconds, cpu, memory) in [
        (0, 0, 1),
        (10, 1, 1),
        (20, 11, 1),
        (30, 21, 90),
        (40, 31, 97),
        (50, 32, 90),
        (60, 33, 90),
        (70, 34, 90),
    ] {
        let (elapsed, reading) = at(seconds, cpu, memory);
        assert!(vigil.is_due(elapsed));
        let observed = vigil.observe(elapsed, None, reading);
        assert!(!vigil.is_due(elapsed + Duration::from_secs(9)));
        seen.extend(
            names(&observed.changes)
                .into_iter()
                .map(|name| (seconds, name)),
        );
    }
    let expected = [(30, "+cpu"), (40, "+memory"), (60, "-cpu")];
    assert_eq!(
        seen,
        expected.map(|(seconds, name)| (seconds, name.to_owned()))
    );

    let watched = vigil.end(Duration::from_secs(75));
    assert_eq!(names(&watched.changes), ["-memory"]);
    let [cpu, memory] = watched.alerts.as_slice() else {
        panic!("two alerts: {:?}", watched.alerts);
    };
    assert_eq!(cpu.severity, Severity::Critical);
    assert_eq!(cpu.since, "1970-01-01T00:00:20Z".parse().unwrap());
    assert_eq!(
        cpu.resolved_at,
        Some("1970-01-01T00:01:00Z".parse().unwrap())
    );
    assert_eq!(memory.allowed, "the memory limit");
    assert!((memory.peak_percent - 97.0).abs() < f64::EPSILON);
    assert!(memory.resolved_at.is_some());
}

#[test]
fn samples_add_up_to_what_was_used() {
    let mut vigil = vigil();
    for (elapsed, reading) in [at(1, 1, 5), at(11, 4, 9), at(21, 4, 2)] {
        let observed = vigil.observe(elapsed, None, reading);
        assert_eq!(observed.record.samples, 1);
    }
    let recorded = vigil.end(Duration::from_secs(30)).recorded;
    assert_eq!(recorded.cpu_us, 4_000_000);
    assert_eq!(recorded.span_us, 21_000_000);
    assert_eq!(recorded.io_read_bytes, 2100);
    assert_eq!(recorded.memory_peak_bytes, 9 * MIB + 7);
}

#[test]
fn without_an_allowance_there_is_no_alert() {
    let mut vigil = vigil();
    vigil.allowance.cpu.amount = 0.0;
    vigil.allowance.memory.amount = 0.0;
    for seconds in 0..10 {
        let (elapsed, reading) = at(seconds * 10, seconds * 10, 1000);
        assert_eq!(vigil.observe(elapsed, None, reading).changes, []);
    }
}
