//! What one operation adds to a confinement, as one flat piece of memory.
//!
//! A confinement may be built before its operation is known, and by another process. So the operation comes as
//! words without any address in them; init puts the addresses in where it maps them, and allocates nothing.
//!
//! ```text
//! head, terminal | programs | limits | 0 arguments 0 | environment 0 | strings … 0
//! ```
//! All numbers are offsets into the strings, but for the limits: each is a resource and a value.

use std::ffi::{CStr, CString};

use rustix::{io::Errno, process::Resource};

use super::site::LayerNames;
use crate::{
    stdio::terminal::{SHAPE_WORDS, Shape},
    sys::{
        exec::{self, Pointers},
        memory,
    },
};

/// Begins every order; another layout needs another word.
const MAGIC: u64 = u64::from_le_bytes(*b"sborder2");
/// Words of the head: the numbers of what follows, and the terminal.
const HEAD_WORDS: usize = NUMBER_WORDS + SHAPE_WORDS;
const NUMBER_WORDS: usize = 9;
/// Stands for no string.
const NONE: u64 = u64::MAX;
/// Runs what is no binary and has no `#!` line, as `execvp(3)` does.
const SHELL: &CStr = c"/bin/sh";
/// All resources, by their place here.
pub(crate) const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// What an order is made of.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Where the program may be; the first that can be executed is.
    pub(crate) programs: Vec<CString>,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    /// Where the guest starts.
    pub(crate) directory: CString,
    pub(crate) limits: Vec<(Resource, u64)>,
    /// The upper and the work directory of the transaction's mount over the workspace.
    pub(crate) overlay: Option<[CString; 2]>,
    /// Of the terminal that it gets, if it gets one.
    pub(crate) terminal: Option<Shape>,
}

impl Contents {
    /// Lays it out.
    pub(crate) fn pack(&self) -> Vec<u64> {
        let mut strings = Vec::new();
        let mut place = |string: &CString| {
            let offset = strings.len() as u64;
            strings.extend_from_slice(string.as_bytes_with_nul());
            offset
        };
        let mut body: Vec<u64> = self.programs.iter().map(&mut place).collect();
        for (resource, value) in &self.limits {
            let index = RESOURCES.iter().position(|it| it == resource);
            body.extend([index.unwrap_or(RESOURCES.len()) as u64, *value]);
        }
        // The place before the arguments is for the shell, if the program turns out to be a script.
        body.push(0);
        body.extend(self.arguments.iter().map(&mut place));
        body.push(0);
        body.extend(self.environment.iter().map(&mut place));
        body.push(0);
        let directory = place(&self.directory);
        let overlay = self.overlay.as_ref();
        let [upper, work] = overlay.map_or([NONE; 2], |layers| layers.each_ref().map(&mut place));
        let counts = [
            self.programs.len(),
            self.limits.len(),
            self.arguments.len(),
            self.environment.len(),
        ];
        let [programs, limits, arguments, environment] = counts.map(|count| count as u64);
        // At least one NUL byte, to the end of the last word.
        strings.resize((strings.len() / size_of::<u64>() + 1) * size_of::<u64>(), 0);
        let strings = strings.chunks_exact(size_of::<u64>());
        let total = HEAD_WORDS + body.len() + strings.len();
        let head = [
            MAGIC,
            total as u64,
            programs,
            limits,
            arguments,
            environment,
            directory,
            upper,
            work,
        ];
        let mut words = Vec::with_capacity(total);
        words.extend(head);
        words.extend(self.terminal.map_or([0; SHAPE_WORDS], |it| it.words()));
        words.extend(body);
        words.extend(strings.map(|word| word.try_into().map_or(0, u64::from_ne_bytes)));
        words
    }
}

/// An order that can be carried out where it lies.
pub(crate) struct Order {
    programs: &'static [u64],
    limits: &'static [u64],
    arguments: Pointers,
    environment: Pointers,
    strings: &'static [u8],
    directory: &'static CStr,
    overlay: Option<LayerNames<'static>>,
    terminal: Option<Shape>,
}

impl Order {
    /// Puts the addresses in. Fails if the words are no order; whatever they are, nothing outside of them is read.
    pub(crate) fn open(words: &'static mut [u64]) -> Result<Self, Errno> {
        Self::parse(words).ok_or(Errno::INVAL)
    }

    fn parse(words: &'static mut [u64]) -> Option<Self> {
        let total = words.len();
        let (head, mut rest) = words.split_at_mut_checked(HEAD_WORDS)?;
        let (head, terminal) = head.split_first_chunk::<NUMBER_WORDS>()?;
        if head[0] != MAGIC || head[1] != total as u64 {
            return None;
        }
        let mut take = |count: u64, each: usize, more: usize| {
            let length = usize::try_from(count).ok()?.checked_mul(each)?;
            let all = std::mem::take(&mut rest);
            let (part, behind) = all.split_at_mut_checked(length.checked_add(more)?)?;
            rest = behind;
            Some(part)
        };
        let programs = take(head[2], 1, 0)?;
        let limits = take(head[3], 2, 0)?;
        let arguments = take(head[4], 1, 2)?;
        let environment = take(head[5], 1, 1)?;
        let strings = memory::bytes(rest);
        Some(Self {
            programs,
            limits,
            arguments: Pointers::new(arguments, strings)?,
            environment: Pointers::new(environment, strings)?,
            strings,
            directory: string(strings, head[6])?,
            overlay: match head[7] {
                NONE => None,
                upper => Some(LayerNames {
                    upper: string(strings, upper)?,
                    work: string(strings, head[8])?,
                }),
            },
            terminal: Shape::of_words(terminal.first_chunk()?),
        })
    }

    /// Where the guest starts.
    pub(crate) fn directory(&self) -> &'static CStr {
        self.directory
    }

    /// The layers of the transaction's mount over the workspace.
    pub(crate) fn overlay(&self) -> Option<LayerNames<'static>> {
        self.overlay
    }

    /// What the guest's terminal is to be like, if it gets one.
    pub(crate) fn terminal(&self) -> Option<&Shape> {
        self.terminal.as_ref()
    }

    /// The limits of the guest's processes.
    pub(crate) fn limits(&self) -> impl Iterator<Item = Result<(Resource, u64), Errno>> {
        self.limits.chunks_exact(2).map(|pair| {
            let resource = usize::try_from(pair[0]).ok();
            let resource = resource.and_then(|index| RESOURCES.get(index).copied());
            resource
                .map(|resource| (resource, pair[1]))
                .ok_or(Errno::INVAL)
        })
    }

    /// Replaces this process by the program; returns only if that fails, with the error that `execvp(3)`
    /// would name.
    pub(crate) fn execute(&mut self) -> Errno {
        let mut denied = false;
        for offset in self.programs {
            let Some(program) = string(self.strings, *offset) else {
                return Errno::INVAL;
            };
            match exec::execute(program, (&self.arguments, 1), &self.environment) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => denied = true,
                Errno::NOEXEC => {
                    self.arguments.set(0, SHELL);
                    self.arguments.set(1, program);
                    return exec::execute(SHELL, (&self.arguments, 0), &self.environment);
                }
                errno => return errno,
            }
        }
        if denied { Errno::ACCESS } else { Errno::NOENT }
    }
}

fn string(strings: &'static [u8], offset: u64) -> Option<&'static CStr> {
    let bytes = strings.get(usize::try_from(offset).ok()?..)?;
    CStr::from_bytes_until_nul(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents() -> Contents {
        Contents {
            programs: vec![c"/usr/bin/true".into(), c"/bin/true".into()],
            arguments: vec![c"true".into(), c"".into()],
            environment: vec![c"A=b".into()],
            directory: c"/workspace".into(),
            limits: vec![(Resource::Core, 0), (Resource::Nofile, 17)],
            overlay: Some([c"etc/a/upper".into(), c"etc/a/work".into()]),
            terminal: None,
        }
    }

    #[test]
    fn an_order_says_what_was_put_into_it() {
        let order = Order::open(contents().pack().leak()).unwrap();
        assert_eq!(order.directory(), c"/workspace");
        let layers = order.overlay().unwrap();
        assert_eq!((layers.upper, layers.work), (c"etc/a/upper", c"etc/a/work"));
        let limits: Result<Vec<_>, _> = order.limits().collect();
        assert_eq!(limits.unwrap(), contents().limits);
        let without = Contents {
            overlay: None,
            ..contents()
        };
        let order = Order::open(without.pack().leak()).unwrap();
        assert!(order.overlay().is_none());
    }

    proptest! {
        #[test]
        fn what_is_no_order_is_refused_or_harmless(
            changes in prop::collection::vec((0_usize..40, any::<u64>()), 1..4),
            length in 0_usize..60,
        ) {
            let mut words = contents().pack();
            for (index, value) in changes {
                if let Some(word) = words.get_mut(index) {
                    *word = value;
                }
            }
            words.truncate(length);
            if let Ok(order) = Order::open(words.leak()) {
                order.limits().for_each(drop);
                assert!(order.directory().count_bytes() < 8 * 60);
            }
        }
    }
}
