//! More of everything than there is for one command.

use std::{
    fs::File,
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use super::{number, tell, tell_call};
use crate::raw::{call, start_child};

/// Starts children that wait: `COUNT MARKER [bound]`. Prints how many there are. Bound ones end with this process.
pub(super) fn fork(arguments: &[&str]) {
    let mut made = 0;
    for _ in 0..number(arguments, 0) {
        let child = start_child(|| {
            if arguments.contains(&"bound") {
                // Without it they end later.
                let _bound = call(libc::SYS_prctl, &[1, 9, 0, 0, 0]);
            }
            thread::park_timeout(Duration::from_secs(60));
            0
        });
        if child.is_err() {
            break;
        }
        made += 1;
    }
    println!("made {made}");
    thread::park_timeout(Duration::from_millis(300));
}

/// Starts threads that wait.
pub(super) fn threads(arguments: &[&str]) {
    let mut made = 0;
    for _ in 0..number(arguments, 0) {
        let builder = thread::Builder::new().stack_size(64 * 1024);
        if builder
            .spawn(|| thread::park_timeout(Duration::from_secs(60)))
            .is_err()
        {
            break;
        }
        made += 1;
    }
    println!("made {made}");
}

/// Leaves children dead and not reaped.
pub(super) fn zombies(arguments: &[&str]) {
    let made = (0..number(arguments, 0))
        .take_while(|_| start_child(|| 0).is_ok())
        .count();
    println!("made {made}");
}

/// Uses memory: so many MiB.
pub(super) fn eat(arguments: &[&str]) {
    let eaten = vec![1_u8; number(arguments, 0) << 20];
    println!("made {}", std::hint::black_box(&eaten).len() >> 20);
}

/// Fills a file that has no name: so many MiB.
pub(super) fn anonymous(arguments: &[&str]) {
    let file = rustix::fs::memfd_create("nameless", rustix::fs::MemfdFlags::empty()).unwrap();
    let mut file = File::from(file);
    let piece = vec![1_u8; 1 << 20];
    let made = (0..number(arguments, 0))
        .take_while(|_| file.write_all(&piece).is_ok())
        .count();
    println!("made {made}");
}

/// Prints: `1|2 MIB PIECE`; no line ends.
pub(super) fn print(arguments: &[&str]) {
    let mut stream: Box<dyn std::io::Write> = match arguments[0] {
        "2" => Box::new(std::io::stderr().lock()),
        _ => Box::new(
            File::options()
                .append(true)
                .open("/proc/self/fd/1")
                .unwrap(),
        ),
    };
    let piece = vec![b'x'; number(arguments, 2)];
    let mut left = number(arguments, 1) << 20;
    while left > 0 {
        let now = left.min(piece.len());
        if stream.write_all(&piece[..now]).is_err() {
            return;
        }
        left -= now;
    }
}

/// Leaves what System V shares: `KEY`.
pub(super) fn shared(arguments: &[&str]) {
    let key = number(arguments, 0);
    tell_call("a shared memory segment", || {
        call(libc::SYS_shmget, &[key, 4096, 0o1666])
    });
    tell_call("a semaphore set", || {
        call(libc::SYS_semget, &[key, 1, 0o1666])
    });
    tell_call("a message queue", || call(libc::SYS_msgget, &[key, 0o1666]));
}

/// Uses a processor: `SECONDS`.
pub(super) fn spin(arguments: &[&str]) {
    let end = Instant::now() + Duration::from_secs(number(arguments, 0) as u64);
    let mut turns = 0_u64;
    while Instant::now() < end {
        turns = std::hint::black_box(turns + 1);
    }
}

/// Opens files until there are no more descriptors.
pub(super) fn descriptors() {
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
        if files.len() >= 100_000 {
            break;
        }
    }
    println!("made {}", files.len());
    drop(files);
    tell("descriptors", "through");
}
