//! Where toolchains and secrets lie: tables, so that they are easy to read and to extend.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

/// Toolchain directories below a home. Visible read-only if they exist.
pub(crate) const HOME_TOOLCHAINS: &[&str] = &[
    ".asdf",
    ".bun",
    ".cabal",
    ".cargo",
    ".deno",
    ".dotnet",
    ".ghcup",
    ".juliaup",
    ".local/bin",
    ".local/lib",
    ".local/pipx",
    ".local/share/mise",
    ".local/share/pipx",
    ".local/share/pnpm",
    ".local/share/uv",
    ".nodenv",
    ".nvm",
    ".opam",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rye",
    ".sdkman",
    ".volta",
    "go",
    "miniconda3",
];

/// Secrets below a home. Hidden wherever they would be visible: in a toolchain, in a workspace that holds the
/// home, in a path that was asked for.
pub(crate) const HOME_SECRETS: &[&str] = &[
    ".aws",
    ".azure",
    ".bash_history",
    ".bun/install/auth.json",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude",
    ".claude.json",
    ".codex",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/hub",
    ".config/op",
    ".config/pip",
    ".docker",
    ".dotnet/corefx/cryptography",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".local/share/keyrings",
    ".local/share/uv/credentials",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".terraform.d/credentials.tfrc.json",
    ".terraformrc",
    ".vault-token",
    ".yarnrc.yml",
    ".zsh_history",
];

/// Directories that are visible as a whole. A link stays a link (`/bin` on a merged-`/usr` system).
pub(crate) const SYSTEM_DIRECTORIES: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/gnu",
];

/// What programs need from `/etc`. Everything else in it is invisible.
pub(crate) const ETC_ENTRIES: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gitconfig",
    "group",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "java-25-openjdk",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki",
    "profile",
    "protocols",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "services",
    "ssl",
    "timezone",
];

/// Below these, nothing may be a workspace; they themselves may not either.
const FORBIDDEN_TREES: &[&str] = &["/dev", "/proc", "/sys"];
/// These may not be a workspace: the guest could not run without the host's own.
const FORBIDDEN_DIRECTORIES: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/etc",
    "/gnu",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/opt",
    "/run",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
];

/// Returns whether `path` is a system directory that can be no workspace.
pub(crate) fn is_system(path: &Path) -> bool {
    FORBIDDEN_TREES.iter().any(|tree| path.starts_with(tree))
        || FORBIDDEN_DIRECTORIES
            .iter()
            .any(|directory| path == Path::new(directory))
}

/// Returns what is in `home`: one look instead of one at each known name, most of which are not there.
pub(crate) fn names_in(home: &Path) -> Option<BTreeSet<OsString>> {
    let entries = fs::read_dir(home).ok()?;
    Some(entries.flatten().map(|entry| entry.file_name()).collect())
}

/// Returns whether the relative path `name` may be in a home with the names `there`.
pub(crate) fn may_be_in(there: Option<&BTreeSet<OsString>>, name: &Path) -> bool {
    let first = name.iter().next().unwrap_or_default();
    // A home that cannot be listed may still be searched.
    there.is_none_or(|there| there.contains(first))
}

/// Returns the known toolchains that are in `home`.
pub(crate) fn of_home(home: &Path) -> Vec<PathBuf> {
    let there = names_in(home);
    HOME_TOOLCHAINS
        .iter()
        .filter(|name| may_be_in(there.as_ref(), Path::new(name)))
        .map(|name| home.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

/// Returns the directories of `search_path` that lie outside of the system directories and of `home`'s known
/// toolchains, each with what stands beside it: a `bin` directory works only with its `lib`.
pub(crate) fn of_search_path(search_path: &OsStr, home: &Path) -> Vec<PathBuf> {
    std::env::split_paths(search_path)
        .filter(|entry| entry.is_absolute())
        .filter(|entry| {
            !SYSTEM_DIRECTORIES
                .iter()
                .any(|system| entry.starts_with(system))
        })
        .filter(|entry| {
            let known = |known: &str| entry.starts_with(home.join(known));
            !HOME_TOOLCHAINS.iter().any(|toolchain| known(toolchain))
        })
        .filter(|entry| entry.is_dir())
        .map(|entry| with_libraries(entry, home))
        // Never the home itself, or what holds it.
        .filter(|entry| !home.starts_with(entry))
        .collect()
}

fn with_libraries(entry: PathBuf, home: &Path) -> PathBuf {
    let Some(parent) = entry.parent() else {
        return entry;
    };
    let is_bin = entry
        .file_name()
        .is_some_and(|name| name == "bin" || name == "sbin");
    let is_prefix =
        parent.components().count() > 2 && parent != home && parent.join("lib").is_dir();
    if is_bin && is_prefix {
        parent.to_owned()
    } else {
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_are_no_workspaces() {
        for bad in ["/", "/usr", "/etc", "/proc/1/root", "/dev/shm"] {
            assert!(is_system(Path::new(bad)), "{bad}");
        }
        for good in [
            "/home",
            "/root",
            "/tmp",
            "/work/x",
            "/usr/src/x",
            "/var/www",
        ] {
            assert!(!is_system(Path::new(good)), "{good}");
        }
    }

    #[test]
    fn a_bin_directory_brings_its_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("node");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::create_dir_all(prefix.join("lib")).unwrap();
        fs::create_dir_all(dir.path().join("tools/bin")).unwrap();
        let path = std::env::join_paths([
            prefix.join("bin"),
            dir.path().join("tools/bin"),
            "/usr/bin".into(),
            "/absent/bin".into(),
        ])
        .unwrap();
        let found = of_search_path(&path, Path::new("/home/x"));
        assert_eq!(found, [prefix, dir.path().join("tools/bin")]);
    }
}
