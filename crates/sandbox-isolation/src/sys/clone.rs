//! Starting processes: `clone(2)` with a function to run on a stack of its own.
#![expect(unsafe_code, reason = "clone(2) takes raw pointers")]

use std::{
    ffi::c_void,
    mem::{ManuallyDrop, MaybeUninit},
    ptr::NonNull,
};

use rustix::{io::Errno, process::Pid};

use super::{
    check,
    process::{self, Children, Patience},
    signals,
};

/// Bytes of a child's stack: the steps are flat, so even an unoptimised build uses a small part (18 KiB).
const STACK_BYTES: usize = 96 * 1024;

/// The stack that one child runs on.
pub(crate) struct Stack(Vec<MaybeUninit<u128>>);

impl Stack {
    /// Returns a stack; its pages cost nothing until they are used.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(STACK_BYTES / size_of::<u128>()))
    }

    /// Returns no stack: stands in while the real one is in use.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }
}

/// What a child shares with its parent; named, so that the choice stands in one place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A copy, as `fork(2)` makes it.
    Copied,
    /// The same memory; the parent's thread stands still until the child executes or exits, as with `vfork(2)`.
    Borrowed,
    /// The same memory, at the same time: `context` and the stack are the child's until it is dead, and the
    /// child may not use the C library, whose thread-local data it shares.
    Shared,
}

/// What a child with [`Memory::Shared`] was given: the child's alone, until it is dead.
///
/// Dropping it forgets the memory, for the child may still use it.
pub(crate) struct Lent<T> {
    child: Pid,
    context: NonNull<T>,
    stack: ManuallyDrop<Stack>,
}

// SAFETY: it is nothing but two boxes that cannot be opened yet.
unsafe impl<T: Send> Send for Lent<T> {}

impl<T> Lent<T> {
    /// Starts a child that runs `entry(context)` while the caller goes on, as [`start`] otherwise. The context
    /// comes back if there is no child.
    pub(crate) fn start(
        context: Box<T>,
        flags: libc::c_int,
        entry: fn(&mut T) -> i32,
    ) -> Result<Self, (Box<T>, Errno)> {
        let context = NonNull::from(Box::leak(context));
        let mut stack = ManuallyDrop::new(Stack::new());
        // SAFETY: just leaked, so it is alive and nobody else has it.
        let lent = unsafe { &mut *context.as_ptr() };
        match start(&mut stack, Memory::Shared, flags, lent, entry) {
            Ok(child) => Ok(Self {
                child,
                context,
                stack,
            }),
            Err(errno) => {
                drop(ManuallyDrop::into_inner(stack));
                // SAFETY: leaked above, and there is no child that has it.
                Err((unsafe { Box::from_raw(context.as_ptr()) }, errno))
            }
        }
    }

    /// Waits until the child is dead; returns what it was given.
    pub(crate) fn take_back(self) -> Result<Box<T>, Errno> {
        self.wait(Patience::Block).map_err(|_lent| Errno::CHILD)
    }

    /// The same if the child is dead already.
    pub(crate) fn try_take_back(self) -> Result<Box<T>, Self> {
        self.wait(Patience::Poll)
    }

    fn wait(self, patience: Patience) -> Result<Box<T>, Self> {
        let Ok(Some(_)) = process::wait(Children::One(self.child), patience) else {
            return Err(self);
        };
        drop(ManuallyDrop::into_inner(self.stack));
        // SAFETY: leaked by `start`; the child that had it is dead, and `self` ends here.
        Ok(unsafe { Box::from_raw(self.context.as_ptr()) })
    }
}

/// Starts a child that runs `entry(context)` and exits with its answer; returns its process id.
///
/// `entry` may call async-signal-safe functions only. All signals must be blocked by the caller, so that
/// none of the caller's handlers runs in the child.
pub(crate) fn start<T>(
    stack: &mut Stack,
    memory: Memory,
    flags: libc::c_int,
    context: &mut T,
    entry: fn(&mut T) -> i32,
) -> Result<Pid, Errno> {
    struct Start<'a, T> {
        context: &'a mut T,
        entry: fn(&mut T) -> i32,
    }
    extern "C" fn trampoline<T>(start: *mut c_void) -> libc::c_int {
        // SAFETY: `start` is the `Start<T>` on this child's own stack, below.
        let start = unsafe { &mut *start.cast::<Start<'_, T>>() };
        (start.entry)(start.context)
    }
    let shared = match memory {
        Memory::Copied => 0,
        Memory::Borrowed => libc::CLONE_VM | libc::CLONE_VFORK,
        Memory::Shared => libc::CLONE_VM,
    };
    let spare = stack.0.spare_capacity_mut();
    // The topmost part of the stack holds what the child starts with; its size keeps the alignment.
    const { assert!(size_of::<Start<'static, ()>>() == size_of::<u128>()) };
    let Some(place) = spare.last_mut() else {
        return Err(Errno::INVAL);
    };
    let top = place.as_mut_ptr().cast::<Start<'_, T>>();
    // SAFETY: `place` is as large and at least as aligned as a `Start`, which is two pointers.
    unsafe { top.write(Start { context, entry }) };
    // SAFETY: `top` is a 16-byte aligned place in a writable allocation that lives as long as the child uses it
    // (a borrowed child is gone from it before `clone` returns, a copied child has its own copy, and a shared
    // child's owner keeps it); what lies below it is unused.
    let pid = unsafe { libc::clone(trampoline::<T>, top.cast(), flags | shared, top.cast()) };
    let pid = check(pid.into())?;
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::INVAL)
}

/// Runs `action` with all signals blocked in this thread.
pub(crate) fn with_signals_blocked<R>(action: impl FnOnce() -> R) -> R {
    let before = signals::block_all();
    let answer = action();
    signals::set_mask(before);
    answer
}
