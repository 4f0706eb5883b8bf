//! A cgroup from systemd, for a user who may make none.
//!
//! Who is logged in at a console or over ssh runs in a cgroup that is root's. What systemd has delegated to the user
//! belongs to the user's own manager, and that makes a scope there for a process that is named to it, in one call; the
//! system's manager moves the process for it. One operation has one scope, which is gone when it is empty:
//!
//! ```text
//! user@1000.service/app.slice/sandbox-….scope/           systemd's; init is moved here
//!                                             start      then here for a moment: who gives controllers has no members
//!                                             sandbox-…  then here, under its limits
//! ```
//!
//! Two messages are all that is spoken, so they are written out here. See the D-Bus Specification ("Message Protocol",
//! "Authentication Protocol") and org.freedesktop.systemd1(5).

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Pid;

use super::{
    CgroupError, Hierarchies, OperationCgroup, Wanted, create, discover, figures::Above, freeze,
    stale,
};

mod message;

use message::{Call, Kind, Message};

/// How long systemd may take with an answer: what the library of D-Bus gives a call by default.
const TIME_LIMIT: Duration = Duration::from_secs(25);
/// A server's line while it lets us in.
const LINE_BYTES_MAX: usize = 512;

/// Returns where this user's manager is spoken to, if it is there.
pub(crate) fn user_bus() -> Option<PathBuf> {
    let uid = rustix::process::geteuid();
    let bus = PathBuf::from(format!("/run/user/{}/bus", uid.as_raw()));
    (!uid.is_root() && bus.exists()).then_some(bus)
}

/// Makes the cgroup of the operation `name` in a scope of its own, and moves its `init` there, which has started
/// nothing yet.
///
/// # Errors
/// Fails if systemd does not make the scope in time. What the scope cannot hold is no error.
pub(crate) fn create_in_scope(
    name: &str,
    wanted: &Wanted,
    init: Pid,
) -> Result<OperationCgroup, CgroupError> {
    let unit = format!("{}.scope", stale::directory_name(name)?);
    let no_scope = |source| CgroupError::Scope {
        unit: unit.clone(),
        source,
    };
    let bus = user_bus().ok_or_else(|| no_scope(io::ErrorKind::NotFound.into()))?;
    start(&bus, &unit, init).map_err(no_scope)?;
    let scope = await_scope(&unit, init).map_err(no_scope)?;
    // Its own members would keep it from giving controllers to those below.
    let leaf = scope.join("start");
    fs::create_dir(&leaf).map_err(no_scope)?;
    super::write_member(&leaf, init)?;
    let above = Above::of(&scope);
    let mut cgroup = create(&Hierarchies::of_scope(scope), name, wanted)?;
    cgroup.above = above.filter(|_| wanted.memory.is_some());
    cgroup.attach(init)?;
    fs::remove_dir(&leaf).map_err(no_scope)?;
    Ok(cgroup)
}

/// Waits until `init` is in the scope: the answer only says that the job has begun.
fn await_scope(unit: &str, init: Pid) -> io::Result<PathBuf> {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let now_in = discover::unified_directory_of(init);
        if let Some(scope) = now_in.filter(|path| path.ends_with(unit)) {
            return Ok(scope);
        }
        if Instant::now() >= deadline {
            let what = "systemd has not moved the process into it";
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        freeze::pause();
    }
}

/// Asks the manager for the scope, and hears what it says.
fn start(bus: &Path, unit: &str, init: Pid) -> io::Result<()> {
    let mut stream = UnixStream::connect(bus)?;
    stream.set_read_timeout(Some(TIME_LIMIT))?;
    stream.set_write_timeout(Some(TIME_LIMIT))?;
    authenticate(&mut stream)?;
    let hello = Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
    };
    stream.write_all(&hello.encode(1, "", &Message::default()))?;
    let start = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartTransientUnit",
    };
    stream.write_all(&start.encode(2, "ssa(sv)a(sa(sv))", &scope_of(unit, init)))?;
    loop {
        let answer = message::read(&mut stream).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                io::Error::new(io::ErrorKind::TimedOut, "systemd has not answered")
            } else {
                error
            }
        })?;
        match (answer.kind, answer.answers) {
            (Kind::Error, Some(1 | 2)) => return Err(io::Error::other(answer.says)),
            (Kind::Return, Some(2)) => return Ok(()),
            // That we have a name now, and signals.
            (Kind::Return | Kind::Error | Kind::Other, _) => {}
        }
    }
}

/// The arguments: name, what to do with jobs in the way, properties, no further units.
fn scope_of(unit: &str, init: Pid) -> Message {
    let mut body = Message::default();
    body.text(unit);
    body.text("fail");
    body.array(8, |list| {
        list.property("Description", "s", |value| value.text("sandbox operation"));
        list.property("PIDs", "au", |value| {
            value.array(4, |pids| {
                pids.number(init.as_raw_nonzero().get().unsigned_abs());
            });
        });
        list.property("Delegate", "b", |value| value.number(1));
        // Gone with its last process, however that ended.
        list.property("CollectMode", "s", |value| {
            value.text("inactive-or-failed");
        });
    });
    body.array(8, |_no_units| {});
    body
}

/// Says who we are; the kernel tells the server whether that is true.
fn authenticate(stream: &mut UnixStream) -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    // Hexadecimal: that of a decimal digit is a 3 and the digit.
    let uid: String = uid.chars().flat_map(|digit| ['3', digit]).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
        if line.len() > LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    if !line.starts_with(b"OK ") {
        let said = String::from_utf8_lossy(&line).trim_end().to_owned();
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, said));
    }
    stream.write_all(b"BEGIN\r\n")
}
