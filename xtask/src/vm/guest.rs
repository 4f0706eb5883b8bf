//! What runs inside of the machine: its first process, and the tests.

use std::fmt::Write as _;

use super::{Pass, Profile, Start, Suite, User, Wanted, login};

/// What the guest prints before and after each run of tests, and at its end.
pub(super) const PASS: &str = "VM-PASS ";
pub(super) const LISTED: &str = "VM-TEST ";
pub(super) const RESULT: &str = "VM-RESULT ";
pub(super) const UP: &str = "VM-UP";
pub(super) const DONE: &str = "VM-DONE";

/// Where the disk is seen.
const DISK: &str = "/vm";
/// The unprivileged user, in every system's user table.
pub(super) const UNPRIVILEGED_ID: u32 = 65_534;
/// The cgroups that systemd makes for that user's services; all that is in the last one is its own.
const DELEGATED: &str = "user.slice/user-65534.slice/user@65534.service";

/// The first process, a script for busybox: loads the modules, puts the root together, goes there.
pub(super) fn init(start: Start, modules: &[String]) -> String {
    let mut text = String::from(
        "#!/bin/busybox sh\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n",
    );
    for module in modules {
        // A checksum or driver may be built in, or its hardware absent.
        let _infallible = writeln!(text, "insmod /modules/{module} 2>/dev/null");
    }
    text.push_str(
        "mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /host\n\
         mount -t tmpfs -o mode=755 top /top; mkdir /top/upper /top/work; chmod 755 /top/upper\n\
         mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work root /root\n\
         mkdir -p /root/vm; mount -t ext4 /dev/vda /root/vm\n\
         for d in proc sys dev; do mount --move /$d /root/$d; done\n\
         mkdir -p /root/dev/pts /root/dev/shm\n\
         mount -t devpts -o mode=620,ptmxmode=666 pts /root/dev/pts; mount -t tmpfs shm /root/dev/shm\n\
         mount -t cgroup2 -o nsdelegate cgroup2 /root/sys/fs/cgroup\n\
         ip link set lo up\n\
         cp /job /root/vm/job\n",
    );
    let first = match start {
        Start::Alone | Start::WithoutUserNamespaces => "/vm/job".to_owned(),
        Start::Systemd => {
            text.push_str("cp -r /units/. /root/etc/systemd/system/\n");
            format!(
                "/usr/lib/systemd/systemd --log-target=console --log-level=warning --show-status=false --unit={}",
                login::UNIT
            )
        }
    };
    let _infallible = writeln!(text, "exec switch_root /root {first}");
    text
}

/// The second one, on the complete root: runs the tests and switches the machine off.
pub(super) fn job(profile: &Profile, passes: &[Pass], wanted: &Wanted<'_>) -> String {
    let mut text = format!(
        "#!/bin/sh\n\
         export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n\
         export SANDBOX_TEST_BINARY={DISK}/bin/sandbox TMPDIR={DISK}/tmp RUST_BACKTRACE=0\n\
         read up rest < /proc/uptime\n\
         echo \"{UP} ${{up}} s, $(uname -r)\"\n"
    );
    if profile.start != Start::Systemd {
        text.push_str(&hierarchy());
    }
    if profile.start == Start::WithoutUserNamespaces {
        text.push_str("echo 0 > /proc/sys/user/max_user_namespaces\n");
    }
    for pass in passes {
        text.push_str(&run(*pass, &wanted.names_of(*pass)));
    }
    let _infallible = writeln!(
        text,
        "echo {DONE}; sync; echo o > /proc/sysrq-trigger; while :; do :; done"
    );
    text
}

/// Gives all controllers to the places of the tests, as systemd would.
fn hierarchy() -> String {
    let mut text = String::from(
        "controllers='+memory +pids +cpu +io'\n\
         cg=/sys/fs/cgroup\n\
         echo \"$controllers\" > $cg/cgroup.subtree_control\n",
    );
    let _infallible = writeln!(
        text,
        "own=$cg/{DELEGATED}\n\
         mkdir -p $own/app.slice/test.scope\n\
         for d in user.slice user.slice/user-65534.slice {DELEGATED}; do echo '+memory +pids' > $cg/$d/cgroup.subtree_control; done\n\
         for d in user.slice user.slice/user-65534.slice {DELEGATED}; do echo \"$controllers\" > $cg/$d/cgroup.subtree_control; done\n\
         for d in $own $own/app.slice $own/app.slice/test.scope; do\n\
         \x20 chown {UNPRIVILEGED_ID} $d $d/cgroup.procs $d/cgroup.subtree_control $d/cgroup.threads\n\
         done\n\
         echo \"$controllers\" > $own/app.slice/cgroup.subtree_control"
    );
    text
}

fn run(pass: Pass, names: &[&str]) -> String {
    let (title, file) = (title(pass), pass.suite.file());
    let names = names.join(" ");
    let loudly = match pass.suite {
        Suite::Escapes => "--progress",
        Suite::Units | Suite::Isolation | Suite::Cli => "--color never --test-threads=2",
    };
    let program = format!("{DISK}/bin/{file} {loudly} {names}");
    let as_user = format!(
        "HOME={DISK}/home setpriv --reuid {UNPRIVILEGED_ID} --regid {UNPRIVILEGED_ID} --clear-groups {program}"
    );
    let move_to = |place: &str| format!("echo 0 > {place}/cgroup.procs; ");
    let (place, command) = match pass.user {
        User::Root => (move_to("$cg"), format!("HOME={DISK}/root {program}")),
        User::Plain => (move_to("$cg"), as_user),
        User::Delegated => (move_to("$own/app.slice/test.scope"), as_user),
        User::LoggedIn => {
            // The bus is started by who first needs it, and has been by the time of a login.
            let bus = format!(
                "setpriv --reuid {UNPRIVILEGED_ID} env XDG_RUNTIME_DIR=/run/user/{UNPRIVILEGED_ID} \
                 busctl --user --timeout=120 status org.freedesktop.systemd1 > /dev/null; "
            );
            (bus, as_user)
        }
    };
    format!(
        "echo '{PASS}{title}'\n\
         {DISK}/bin/{file} --list {names} 2> /dev/null | while read -r line; do echo \"{LISTED}$line\"; done\n\
         ( {place}cd {DISK}/home; {command} ) < /dev/null\n\
         echo \"{RESULT}$?\"\n"
    )
}

/// Returns what a run is called.
pub(super) fn title(pass: Pass) -> String {
    let user = match pass.user {
        User::Root => "root",
        User::Plain => "user",
        User::Delegated => "user with a delegated cgroup",
        User::LoggedIn => "user with a manager of systemd",
    };
    format!("{} as {user}", pass.suite.file())
}
