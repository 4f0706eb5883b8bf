//! Scanning files by themselves: what `sandbox scan` says, without a sandbox.
//!
//! The tree may be hostile: it is walked by descriptors, links are not followed, pipes and devices
//! are not opened, and other mounts are left alone. One thread walks and two scan; the report is in
//! the order of the walk all the same.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
};

use sandbox_rollback::{FileError, FileTree, Opened};
use sandbox_safety::{ContentScanner, Scanned};
use sandbox_types::{Bytes, ContentFinding, RiskLevel, causes, config::ContentSettings};
use serde::{Serialize, Serializer};

use crate::content::{self, READ_BYTES, scan_file};

mod sarif;

/// The most findings that a report lists; the rest is counted.
const FINDINGS_LISTED_MAX: usize = 10_000;
/// The most files that a report names as unreadable or as scanned in part; the rest is counted.
const NAMED_MAX: usize = 1000;
/// Threads that scan.
const SCANNERS: usize = 2;
/// Files that are open and wait to be scanned.
const WAITING_MAX: usize = 32;

/// How to scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Less severe findings are left out.
    pub least: RiskLevel,
    /// So much of each file is scanned.
    pub max_bytes: Bytes,
    settings: ContentSettings,
}

/// What to scan.
#[derive(Debug)]
pub enum ScanInput {
    /// A file, or a directory with all that is in it.
    Path(PathBuf),
    /// A stream, and what to call it.
    Stream(PathBuf, File),
}

/// A path cannot be scanned at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// It is not there, or may not be read.
    #[error("cannot scan '{}'", path.display())]
    Open {
        /// As it was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a directory that may not be read.
    #[error("cannot scan '{}'", path.display())]
    List {
        /// As it was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
}

/// What a scan found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ScanReport {
    /// In the order of the walk, up to ten thousand.
    pub findings: Vec<ContentFinding>,
    /// How many more there are.
    pub findings_not_listed: u64,
    /// Files that were scanned.
    pub files: u64,
    /// Bytes that were read of them.
    pub bytes: u64,
    /// What could not be scanned, up to a thousand.
    pub unreadable: Vec<Unreadable>,
    /// How many more there are.
    pub unreadable_not_listed: u64,
    /// Files of which only the first bytes were scanned, up to a thousand.
    #[serde(serialize_with = "as_text")]
    pub partly: Vec<PathBuf>,
    /// Links, pipes, sockets and devices, which are not opened.
    pub skipped: u64,
}

/// Something that could not be scanned.
#[derive(Clone, Debug, Serialize)]
pub struct Unreadable {
    /// The file or directory.
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

impl ScanRequest {
    /// Returns a request that scans the first GiB of each file.
    pub fn new(least: RiskLevel) -> Self {
        Self {
            least,
            max_bytes: Bytes(1 << 30),
            settings: sandbox_types::SandboxConfig::default().content(),
        }
    }

    /// Takes the extensions and the size that are not allowed from a configuration.
    #[must_use]
    pub fn with_settings(mut self, settings: &ContentSettings) -> Self {
        self.settings = settings.clone();
        self
    }
}

impl ScanReport {
    /// Returns whether all that was to be scanned could be, and nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.unreadable.is_empty()
    }
}

/// Scans files and directories.
///
/// # Errors
///
/// Fails when an input cannot be opened, before any is scanned. What cannot be read below a directory
/// is in the report.
pub fn scan(request: &ScanRequest, inputs: Vec<ScanInput>) -> Result<ScanReport, ScanError> {
    let opened: Vec<Input> = inputs
        .into_iter()
        .map(Input::open)
        .collect::<Result<_, _>>()?;
    let scanner = content::scanner(&request.settings, request.least).expecting(expected(&opened));
    let (jobs, waiting) = mpsc::sync_channel(WAITING_MAX);
    let waiting = Mutex::new(waiting);
    let (done, results) = mpsc::channel();
    let report = thread::scope(|scope| {
        for _ in 0..SCANNERS {
            let (done, waiting, scanner) = (done.clone(), &waiting, &scanner);
            scope.spawn(move || work(scanner, request.max_bytes.get(), waiting, &done));
        }
        drop(done);
        let mut walk = Walk {
            jobs,
            results,
            next: 0,
            order: Order::default(),
        };
        for input in opened {
            walk.input(input);
        }
        walk.end()
    });
    Ok(report)
}

/// Returns how many bytes will be scanned at least; a directory or a stream may have any number.
fn expected(inputs: &[Input]) -> u64 {
    let size = |input: &Input| match input {
        Input::File(_, file) => file
            .metadata()
            .ok()
            .filter(std::fs::Metadata::is_file)
            .map(|it| it.len()),
        Input::Tree(..) => None,
    };
    inputs
        .iter()
        .map(size)
        .try_fold(0, |sum: u64, it| sum.checked_add(it?))
        .unwrap_or(u64::MAX)
}

/// An input, opened.
enum Input {
    Tree(PathBuf, FileTree),
    File(PathBuf, File),
}

impl Input {
    fn open(input: ScanInput) -> Result<Self, ScanError> {
        let path = match input {
            ScanInput::Stream(name, file) => return Ok(Self::File(name, file)),
            ScanInput::Path(path) => path,
        };
        let failed = |source| ScanError::Open {
            path: path.clone(),
            source,
        };
        if std::fs::metadata(&path).map_err(failed)?.is_dir() {
            let tree =
                FileTree::open(&path).and_then(|tree| tree.names(Path::new("")).map(|_| tree));
            return match tree {
                Ok(tree) => Ok(Self::Tree(path, tree)),
                Err(source) => Err(ScanError::List { path, source }),
            };
        }
        // What was named is meant: a pipe is waited for.
        let file = File::open(&path).map_err(failed)?;
        Ok(Self::File(path, file))
    }
}

/// A file to scan.
struct Job {
    number: u64,
    path: PathBuf,
    file: File,
    size: Option<u64>,
}

/// What became of one file or directory.
enum Outcome {
    Scanned {
        path: PathBuf,
        scanned: Scanned,
        bytes: u64,
        whole: bool,
    },
    Unreadable(Unreadable),
}

fn work(
    scanner: &ContentScanner,
    bound: u64,
    waiting: &Mutex<Receiver<Job>>,
    done: &mpsc::Sender<(u64, Outcome)>,
) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // A statement of its own: the lock is not held while the file is scanned.
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(job) = next else {
            return;
        };
        let (scanned, read) = scan_file(
            scanner,
            (&job.path, &job.file, job.size),
            bound,
            &mut buffer,
        );
        let outcome = match read {
            Ok(bytes) => Outcome::Scanned {
                whole: bytes < bound || job.size.is_some_and(|size| size <= bytes),
                path: job.path,
                scanned,
                bytes,
            },
            Err(error) => Outcome::Unreadable(Unreadable {
                path: job.path,
                reason: error.to_string(),
            }),
        };
        if done.send((job.number, outcome)).is_err() {
            return;
        }
    }
}

/// The walk over all inputs, and the results as they come.
struct Walk {
    jobs: SyncSender<Job>,
    results: Receiver<(u64, Outcome)>,
    /// The number of the next file or unreadable path.
    next: u64,
    order: Order,
}

impl Walk {
    fn input(&mut self, input: Input) {
        match input {
            Input::File(path, file) => self.submit(path, file, None),
            Input::Tree(root, tree) => self.tree(&root, &tree),
        }
    }

    fn tree(&mut self, root: &Path, tree: &FileTree) {
        let mut path = PathBuf::new();
        let mut open = vec![self.names(root, tree, &path)];
        while let Some(names) = open.last_mut() {
            let Some(name) = names.next() else {
                open.pop();
                path.pop();
                continue;
            };
            path.push(name);
            match tree.look(&path) {
                Ok(Opened::Directory) if !holds_git_objects(&path) => {
                    open.push(self.names(root, tree, &path));
                    continue;
                }
                Ok(Opened::File(file, size)) => self.submit(joined(root, &path), file, Some(size)),
                Ok(Opened::Other) => self.order.report.skipped += 1,
                Ok(Opened::Directory | Opened::Nothing) => {}
                Err(error) => self.unreadable(joined(root, &path), &error),
            }
            path.pop();
        }
    }

    fn names(
        &mut self,
        root: &Path,
        tree: &FileTree,
        path: &Path,
    ) -> std::vec::IntoIter<std::ffi::OsString> {
        let names = tree.names(path).unwrap_or_else(|error| {
            self.unreadable(joined(root, path), &error);
            Vec::new()
        });
        names.into_iter()
    }

    fn unreadable(&mut self, path: PathBuf, error: &FileError) {
        let other_mount = error.source.kind() == io::ErrorKind::CrossesDevices;
        let reason = if other_mount {
            "lies on another file system; name it to scan it".to_owned()
        } else {
            causes(&error.source).join(": ")
        };
        let number = self.number();
        self.order
            .take(number, Outcome::Unreadable(Unreadable { path, reason }));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Gives a file to the scanning threads; while they are busy, takes their results.
    fn submit(&mut self, path: PathBuf, file: File, size: Option<u64>) {
        let mut job = Job {
            number: self.number(),
            path,
            file,
            size,
        };
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => job = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            let Ok((number, outcome)) = self.results.recv() else {
                return;
            };
            self.order.take(number, outcome);
        }
        while let Ok((number, outcome)) = self.results.try_recv() {
            self.order.take(number, outcome);
        }
    }

    fn end(self) -> ScanReport {
        drop(self.jobs);
        let mut order = self.order;
        for (number, outcome) in self.results {
            order.take(number, outcome);
        }
        order.report
    }
}

/// Puts results into the order of the walk.
#[derive(Default)]
struct Order {
    report: ScanReport,
    early: BTreeMap<u64, Outcome>,
    next: u64,
}

impl Order {
    fn take(&mut self, number: u64, outcome: Outcome) {
        self.early.insert(number, outcome);
        while let Some(outcome) = self.early.remove(&self.next) {
            self.next += 1;
            self.report.add(outcome);
        }
    }
}

impl ScanReport {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Scanned {
                path,
                scanned,
                bytes,
                whole,
            } => {
                self.files += 1;
                self.bytes += bytes;
                let room = FINDINGS_LISTED_MAX - self.findings.len();
                let more = scanned.findings.len().saturating_sub(room) as u64;
                self.findings_not_listed += scanned.more + more;
                self.findings
                    .extend(scanned.findings.into_iter().take(room));
                if !whole && self.partly.len() < NAMED_MAX {
                    self.partly.push(path);
                }
            }
            Outcome::Unreadable(unreadable) if self.unreadable.len() < NAMED_MAX => {
                self.unreadable.push(unreadable);
            }
            Outcome::Unreadable(_) => self.unreadable_not_listed += 1,
        }
    }
}

fn joined(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    }
}

/// Git's objects are compressed: there is nothing to see, and much of it.
fn holds_git_objects(path: &Path) -> bool {
    path.ends_with(".git/objects")
}

fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn as_text<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
