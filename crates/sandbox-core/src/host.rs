//! The caller's surroundings: home, search path, environment, where we keep our data.

mod named_paths;
mod passwd;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Variables that a guest sees if the caller has them; everything else stays outside.
const PASSED_VARIABLES: &[&str] = &[
    "ASDF_DATA_DIR",
    "BUN_INSTALL",
    "CARGO_HOME",
    "CI",
    "COLORTERM",
    "CONDA_PREFIX",
    "DENO_INSTALL",
    "DOTNET_ROOT",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "MAVEN_HOME",
    "NODENV_ROOT",
    "NO_COLOR",
    "NVM_DIR",
    "PYENV_ROOT",
    "RBENV_ROOT",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SDKMAN_DIR",
    "TERM",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "VOLTA_HOME",
];

/// Names that would let a caller's environment change what the guest executes or trusts; they are
/// never passed by pattern, only when an operation sets them itself.
const DANGEROUS_PREFIXES: &[&str] = &["LD_", "GIT_", "BASH_", "DYLD_", "SANDBOX_", "SSH_"];

/// The search path of a caller that has none.
const SEARCH_PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the sandbox needs to know of the process and user that call it.
#[derive(Clone)]
pub struct Host {
    /// Where everything is kept: `SANDBOX_HOME`, or `$XDG_DATA_HOME/sandbox`.
    pub data: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
    /// The user's search path for programs.
    pub search_path: OsString,
    /// The user's environment.
    pub variables: Vec<(String, String)>,
    /// The user's configuration file; it need not exist.
    pub user_config: PathBuf,
    /// The machine's configuration file; it need not exist.
    pub system_config: PathBuf,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Variables hold secrets: only their names are shown.
        let names: Vec<&str> = self.variables.iter().map(|it| it.0.as_str()).collect();
        f.debug_struct("Host")
            .field("data", &self.data)
            .field("home", &self.home)
            .field("search_path", &self.search_path)
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Reads the environment of this process.
    pub fn from_environment() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of the library that reads it"
        )]
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        // As for cron and for services: the user's entry tells what nobody has set.
        let has_home = |(key, value): &(OsString, OsString)| key == "HOME" && !value.is_empty();
        if !variables.iter().any(has_home)
            && let Some(home) = passwd::home_of(rustix::process::geteuid().as_raw())
        {
            variables.retain(|(key, _)| key != "HOME");
            variables.push(("HOME".into(), home.into()));
        }
        Self::from_variables(variables)
    }

    /// Works out the surroundings from an environment.
    pub fn from_variables(variables: Vec<(OsString, OsString)>) -> Self {
        let get = |name: &str| {
            let found = variables.iter().find(|(key, _)| key == name);
            found
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        let absolute = |name: &str| {
            get(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME").unwrap_or_else(|| PathBuf::from("/nonexistent"));
        let data = get("SANDBOX_HOME").map_or_else(
            || {
                absolute("XDG_DATA_HOME")
                    .unwrap_or_else(|| home.join(".local/share"))
                    .join("sandbox")
            },
            PathBuf::from,
        );
        let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        Self {
            data,
            search_path: get("PATH").unwrap_or_else(|| SEARCH_PATH_DEFAULT.into()),
            user_config: config.join("sandbox/config.yaml"),
            system_config: Path::new("/etc/sandbox/config.yaml").to_owned(),
            home,
            variables: variables
                .into_iter()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }

    /// Returns the value of one variable of the caller.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the variables that every guest gets, before the configuration and the operation add
    /// theirs. `also` are names that the configuration passes through.
    pub fn guest_environment(&self, also: &[String]) -> Vec<(String, String)> {
        let passed = |name: &str| {
            PASSED_VARIABLES.contains(&name)
                || name.starts_with("LC_")
                || (also.iter().any(|it| it == name)
                    && !DANGEROUS_PREFIXES
                        .iter()
                        .any(|prefix| name.starts_with(prefix)))
        };
        let mut environment: Vec<_> = self
            .variables
            .iter()
            .filter(|(name, _)| passed(name))
            .cloned()
            .collect();
        environment.push((
            "PATH".to_owned(),
            self.search_path.to_string_lossy().into_owned(),
        ));
        environment.push(("HOME".to_owned(), self.home.to_string_lossy().into_owned()));
        environment.push(("SHELL".to_owned(), "/bin/sh".to_owned()));
        environment.push(("TMPDIR".to_owned(), "/tmp".to_owned()));
        environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pairs: &[(&str, &str)]) -> Host {
        Host::from_variables(
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        )
    }

    #[test]
    fn data_lies_where_the_user_says() {
        assert_eq!(
            host(&[("HOME", "/h")]).data,
            Path::new("/h/.local/share/sandbox")
        );
        assert_eq!(
            host(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]).data,
            Path::new("/x/sandbox")
        );
        assert_eq!(
            host(&[("HOME", "/h"), ("SANDBOX_HOME", "/s")]).data,
            Path::new("/s")
        );
    }

    #[test]
    fn secrets_and_loaders_stay_outside() {
        let host = host(&[
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("LD_PRELOAD", "y"),
            ("LANG", "C"),
            ("MINE", "1"),
        ]);
        let names: Vec<_> = host
            .guest_environment(&["MINE".to_owned(), "LD_PRELOAD".to_owned()])
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["LANG", "MINE", "PATH", "HOME", "SHELL", "TMPDIR"]);
    }
}
