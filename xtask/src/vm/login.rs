//! Units for a machine that systemd starts: no more than one user's manager, and the tests beside it.
//!
//! The user's manager and its bus are the distribution's own. The tests run in a cgroup of root's, as a login at a
//! console or over ssh does.

use super::guest::UNPRIVILEGED_ID;

/// What is started, with all that it needs.
pub(super) const UNIT: &str = "sandbox-tests.service";

/// What would start the rest of the distribution is left out.
const ALONE: &str = "[Unit]\nDefaultDependencies=no\n";

/// Returns the files of `/etc/systemd/system`.
pub(super) fn units() -> Vec<(String, String)> {
    let id = UNPRIVILEGED_ID;
    let tests = format!(
        "{ALONE}Wants=dbus.socket user@{id}.service\n\
         After=dbus.socket user@{id}.service\n\
         [Service]\n\
         Type=oneshot\n\
         TimeoutStartSec=infinity\n\
         StandardInput=null\n\
         StandardOutput=tty\n\
         StandardError=tty\n\
         TTYPath=/dev/ttyS0\n\
         ExecStart=/vm/job\n"
    );
    // The session manager would make it, from its own settings.
    let directory = format!(
        "{ALONE}[Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=/usr/bin/install -d -m 700 -o %i -g %i /run/user/%i\n"
    );
    let manager = format!(
        "{ALONE}[Service]\nPAMName=\nTimeoutStartSec=infinity\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n"
    );
    // An emulated machine may take longer than any limit.
    let bus = format!("{ALONE}[Service]\nTimeoutStartSec=infinity\n");
    let drop_in = |unit: &str| format!("{unit}.d/alone.conf");
    vec![
        (UNIT.to_owned(), tests),
        ("user-runtime-dir@.service".to_owned(), directory),
        (drop_in("user@.service"), manager),
        (drop_in("dbus.socket"), ALONE.to_owned()),
        (drop_in("dbus.service"), bus),
    ]
}
