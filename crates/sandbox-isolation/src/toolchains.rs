//! Where toolchains lie: tables, so that they are easy to read and to extend.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::looks::Looks;

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

/// Repositories of packages below a home that a build without a network takes what it needs from. With a network they
/// are left out: the guest fills private ones instead, which read-only ones would not let it.
pub(crate) const HOME_REPOSITORIES: &[&str] = &[".ivy2/cache", ".m2/repository", ".nuget/packages"];

/// What stands beside a `bin` directory and belongs to the programs in it.
const BESIDE_PROGRAMS: &[&str] = &[
    "include",
    "lib",
    "lib32",
    "lib64",
    "libexec",
    "pyvenv.cfg",
    "share",
];

/// Programs that need all of the directory that their `bin` directory lies in: it is theirs alone. `activate` stands
/// for Python's virtual environments.
const WHOLE_PREFIXES: &[&str] = &[
    "activate", "ant", "conda", "dart", "flutter", "go", "gradle", "groovy", "java", "julia",
    "kotlinc", "mvn", "sbt", "scala",
];

/// What a home has and a toolchain has not.
const SIGNS_OF_A_HOME: &[&str] = &[".bashrc", ".cache", ".config", ".profile", ".ssh"];

/// Directories that are visible as a whole. A link stays a link (`/bin` on a merged-`/usr` system).
pub(crate) const SYSTEM_DIRECTORIES: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/gnu/store",
];

/// What programs need from `/etc`. Everything else in it is invisible.
pub(crate) const ETC_ENTRIES: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "gitconfig",
    "group",
    "host.conf",
    "java-8-openjdk",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "java-25-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "maven",
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
    "python3.14",
    "rpc",
    "services",
    "shells",
    "ssl",
    "terminfo",
    "timezone",
    "xml",
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
pub(crate) fn names_in(looks: &Looks, home: &Path) -> Option<BTreeSet<OsString>> {
    let entries = looks.read_dir(home).ok()?;
    Some(entries.flatten().map(|entry| entry.file_name()).collect())
}

/// Returns whether the relative path `name` may be in a home with the names `there`.
pub(crate) fn may_be_in(there: Option<&BTreeSet<OsString>>, name: &Path) -> bool {
    let first = name.iter().next().unwrap_or_default();
    // A home that cannot be listed may still be searched.
    there.is_none_or(|there| there.contains(first))
}

/// Returns the known toolchains that are in `home`, with the repositories of packages if `repositories`.
pub(crate) fn of_home(looks: &Looks, home: &Path, repositories: bool) -> Vec<PathBuf> {
    let there = names_in(looks, home);
    let repositories = if repositories { HOME_REPOSITORIES } else { &[] };
    HOME_TOOLCHAINS
        .iter()
        .chain(repositories)
        .filter(|name| may_be_in(there.as_ref(), Path::new(name)))
        .map(|name| home.join(name))
        .filter(|path| looks.is_dir(path))
        .collect()
}

/// Returns the directories of `search_path` that lie outside of the system directories and of `home`'s known
/// toolchains, each with what belongs to it.
pub(crate) fn of_search_path(looks: &Looks, search_path: &OsStr, home: &Path) -> Vec<PathBuf> {
    let is_known = |entry: &Path| {
        let mut system = SYSTEM_DIRECTORIES.iter().map(PathBuf::from);
        let mut toolchains = HOME_TOOLCHAINS.iter().map(|name| home.join(name));
        system.any(|it| entry.starts_with(it)) || toolchains.any(|it| entry.starts_with(it))
    };
    std::env::split_paths(search_path)
        .filter(|entry| entry.is_absolute() && !is_known(entry) && looks.is_dir(entry))
        .flat_map(|entry| with_companions(looks, entry))
        // Never the home itself, or what holds it.
        .filter(|path| !home.starts_with(path))
        .collect()
}

/// A `bin` directory works only with what stands beside it.
fn with_companions(looks: &Looks, entry: PathBuf) -> Vec<PathBuf> {
    let is_bin = entry
        .file_name()
        .is_some_and(|name| name == "bin" || name == "sbin");
    let Some(prefix) = entry
        .parent()
        .filter(|prefix| is_bin && prefix.parent().is_some())
    else {
        return vec![entry];
    };
    let has = |names: &[&str], directory: &Path| {
        let mut paths = names.iter().map(|name| directory.join(name));
        paths.any(|path| looks.exists(&path))
    };
    if has(WHOLE_PREFIXES, &entry) && !has(SIGNS_OF_A_HOME, prefix) {
        return vec![prefix.to_owned()];
    }
    let companions = BESIDE_PROGRAMS.iter().map(|name| prefix.join(name));
    let mut all: Vec<PathBuf> = companions.filter(|path| looks.exists(path)).collect();
    all.push(entry);
    all
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_bin_directory_brings_what_belongs_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [
            "node/bin",
            "node/lib",
            "node/src",
            "tools/bin",
            "jdk/bin",
            "jdk/conf",
            "user/bin",
            "user/lib",
            "user/.ssh",
            "user/mail",
        ] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["jdk/bin/java", "user/bin/go"] {
            fs::write(at(name), "").unwrap();
        }
        let of = |name: &str| {
            of_search_path(
                &Looks::default(),
                at(name).as_os_str(),
                Path::new("/home/x"),
            )
        };
        // What else stands there may be a project with secrets in it.
        assert_eq!(of("node/bin"), [at("node/lib"), at("node/bin")]);
        assert_eq!(of("tools/bin"), [at("tools/bin")]);
        assert_eq!(of("jdk/bin"), [at("jdk")]);
        assert_eq!(of("user/bin"), [at("user/lib"), at("user/bin")]);
        assert!(of("absent/bin").is_empty());
        assert!(
            of_search_path(
                &Looks::default(),
                OsStr::new("/usr/bin:bin"),
                Path::new("/home/x")
            )
            .is_empty()
        );
        assert!(
            of_search_path(
                &Looks::default(),
                at("user/bin").as_os_str(),
                &at("user/bin/home")
            )
            .contains(&at("user/lib"))
        );
    }
}
