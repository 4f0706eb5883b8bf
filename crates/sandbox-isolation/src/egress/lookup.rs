//! Looking names up outside: a few threads that wait in the C library's resolver, so that the supervisor never does.

use std::{
    collections::VecDeque,
    net::{IpAddr, ToSocketAddrs as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::{event::EventfdFlags, io::Errno};
use sandbox_types::HostName;

use crate::sys::names;

/// Look-ups at once; the rest waits.
const THREADS_MAX: usize = 4;

/// Whether the C library is to be told, before the first look-up: that costs reading its configuration.
static WITHOUT_PLUGINS: AtomicBool = AtomicBool::new(false);

/// See [`crate::look_names_up_without_plugins`].
pub(crate) fn look_names_up_without_plugins() {
    WITHOUT_PLUGINS.store(true, Ordering::Relaxed);
}

/// What was found, or why not.
pub(super) type Found = Result<Vec<IpAddr>, String>;

/// Looks names up; answers come in any order.
#[derive(Debug)]
pub(super) struct Lookups {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Readable when there is an answer.
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    wanted: VecDeque<HostName>,
    found: Vec<(HostName, Found)>,
    /// Threads that are in a look-up.
    busy: usize,
    is_over: bool,
}

impl Shared {
    /// No code that holds the lock can panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookups {
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Condvar::new(),
                wake: rustix::event::eventfd(0, flags)?,
            }),
            threads: Vec::new(),
        })
    }

    /// Returns what becomes readable when there is an answer.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    /// Asks for the addresses of `name`.
    pub(super) fn ask(&mut self, name: HostName) {
        let mut state = self.shared.state();
        state.wanted.push_back(name);
        let needed = state.busy + state.wanted.len();
        drop(state);
        self.shared.changed.notify_one();
        if needed > self.threads.len() && self.threads.len() < THREADS_MAX {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new().name("sandbox-lookup".to_owned());
            // Without a thread the name waits for another one, or until the connection's time is over.
            self.threads
                .extend(builder.spawn(move || serve(&shared)).ok());
        }
    }

    /// Takes the answers that have come.
    pub(super) fn take(&mut self) -> Vec<(HostName, Found)> {
        let mut counter = [0; 8];
        rustix::io::read(self.wake(), &mut counter).ok();
        std::mem::take(&mut self.shared.state().found)
    }
}

impl Drop for Lookups {
    /// Ends the threads. One that is still in the C library ends by itself when that answers: it holds a name and
    /// nothing else.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        let is_idle = state.busy == 0;
        drop(state);
        self.shared.changed.notify_all();
        if is_idle {
            for thread in self.threads.drain(..) {
                // It cannot have panicked.
                thread.join().ok();
            }
        }
    }
}

fn serve(shared: &Shared) {
    let mut state = shared.state();
    loop {
        if state.is_over {
            return;
        }
        let Some(name) = state.wanted.pop_front() else {
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.busy += 1;
        drop(state);
        let found = look_up(&name);
        state = shared.state();
        state.busy -= 1;
        state.found.push((name, found));
        // It fails only if the counter is full: then it is readable already.
        rustix::io::write(&shared.wake, &1_u64.to_ne_bytes()).ok();
    }
}

/// As the caller's own programs would: `/etc/hosts`, then the name servers.
fn look_up(name: &HostName) -> Found {
    static TOLD: Once = Once::new();
    if WITHOUT_PLUGINS.load(Ordering::Relaxed) {
        TOLD.call_once(names::use_files_and_dns);
    }
    match (name.as_str(), 0).to_socket_addrs() {
        Ok(addresses) => {
            let mut found: Vec<IpAddr> = Vec::new();
            for address in addresses.map(|it| it.ip().to_canonical()) {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            Ok(found)
        }
        Err(error) => Err(format!("the name cannot be looked up: {error}")),
    }
}
