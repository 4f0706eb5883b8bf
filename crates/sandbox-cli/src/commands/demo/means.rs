//! What the chapters share: the same sandbox with other settings, copies of it, bounded waits.

use std::{error::Error, fs, io, path::Path, path::PathBuf, time::Duration};

use sandbox_core::{Home, Overrides, SandboxCore};
use sandbox_types::{SandboxConfig, SandboxName, causes};
use tokio::time;

use super::chapters::{Story, same};

/// Nothing that is waited for takes longer, however loaded the machine is.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(super) fn reason(error: &dyn Error) -> String {
    causes(error).join(": ")
}

/// Waits for what must come, and fails when it does not.
pub(super) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    time::timeout(PATIENCE, future)
        .await
        .map_err(|_late| format!("{what} did not come in {} s", PATIENCE.as_secs()))
}

/// Looks until `condition` holds.
pub(super) async fn until(
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<(), String> {
    in_time(what, async {
        while !condition().await {
            time::sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

/// Looks for bytes in every file below a directory; returns the first file that holds them.
pub(super) fn file_with(directory: &Path, wanted: &[u8]) -> io::Result<Option<PathBuf>> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // The kernel's own work directory for a transaction, mode 0, in which nothing lies.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path())?;
                if bytes.windows(wanted.len()).any(|it| it == wanted) {
                    return Ok(Some(entry.path()));
                }
            }
        }
    }
    Ok(None)
}

/// A copy of all that the sandbox keeps, to be damaged.
pub(super) struct Copied {
    home: Home,
    name: SandboxName,
    pub(super) directory: PathBuf,
}

impl Copied {
    pub(super) fn open(&self) -> Result<SandboxCore, String> {
        let record = self.home.find(&self.name).map_err(|error| reason(&error))?;
        let opened = self.home.open(record, &Overrides::default());
        Ok(opened.map_err(|error| reason(&error))?.0)
    }
}

impl Story<'_> {
    /// Opens the sandbox once more, with settings as in a file that `-c` names.
    pub(super) fn open_with(&self, settings: SandboxConfig) -> Result<SandboxCore, String> {
        self.open_in(self.scratch.home(), settings)
    }

    pub(super) fn open_in(
        &self,
        home: &Home,
        settings: SandboxConfig,
    ) -> Result<SandboxCore, String> {
        let overrides = Overrides {
            file: None,
            flags: settings,
        };
        let opened = home.open(self.core.record().clone(), &overrides);
        Ok(opened.map_err(|error| reason(&error))?.0)
    }

    pub(super) fn read(&self, path: &str) -> Result<String, String> {
        let full = self.scratch.workspace().join(path);
        fs::read_to_string(full).map_err(|error| format!("cannot read {path}: {error}"))
    }

    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), String> {
        let full = self.scratch.workspace().join(path);
        fs::write(full, content).map_err(|error| format!("cannot write {path}: {error}"))
    }

    /// Fails unless `path` reads `expected`.
    pub(super) fn reads(&self, path: &str, expected: &str) -> Result<(), String> {
        let text = self.read(path)?;
        if text == expected {
            Ok(())
        } else {
            Err(format!("{path} reads {text:?}, not {expected:?}"))
        }
    }

    /// Fails unless the workspace is as `before`.
    pub(super) fn unchanged(
        &self,
        before: Result<super::tree::Tree, String>,
    ) -> Result<(), String> {
        same(before, self.tree())
    }

    /// Copies what the sandbox keeps to a place of that name.
    pub(super) fn copy(&self, place: &str) -> Result<Copied, String> {
        let mut host = self.scratch.home().host().clone();
        let name = self.core.name().clone();
        let below = Path::new("sandboxes").join(name.as_str());
        let copy = self.scratch.root().join(place);
        let directory = copy.join(&below);
        copy_directory(&host.data.join(&below), &directory).map_err(|error| error.to_string())?;
        host.data = copy;
        Ok(Copied {
            home: Home::new(host),
            name,
            directory,
        })
    }
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Flips one bit in the middle of a file.
pub(super) fn flip_a_bit(path: &Path) -> Result<(), String> {
    let text = |error: io::Error| format!("cannot damage {}: {error}", path.display());
    let mut bytes = fs::read(path).map_err(text)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).ok_or("there is nothing to damage")?;
    *byte ^= 1;
    fs::write(path, bytes).map_err(text)
}
