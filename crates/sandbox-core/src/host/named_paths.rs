//! Paths that the caller's environment names: toolchains to show, secrets to hide.

use std::path::{Path, PathBuf};

use super::Host;

/// Variables that name a toolchain's directory, with what of it is shown; empty is all of it.
const TOOLCHAINS: &[(&str, &str)] = &[
    ("ASDF_DATA_DIR", ""),
    ("BUN_INSTALL", ""),
    ("CARGO_HOME", ""),
    ("CONDA_PREFIX", ""),
    ("DENO_INSTALL", ""),
    ("DOTNET_ROOT", ""),
    // Not its `src`: these are the user's projects.
    ("GOPATH", "bin"),
    ("GOPATH", "pkg"),
    ("GOROOT", ""),
    ("JAVA_HOME", ""),
    ("MAVEN_HOME", ""),
    ("NODENV_ROOT", ""),
    ("NVM_DIR", ""),
    ("PYENV_ROOT", ""),
    ("RBENV_ROOT", ""),
    ("RUSTUP_HOME", ""),
    ("SDKMAN_DIR", ""),
    ("VIRTUAL_ENV", ""),
    ("VOLTA_HOME", ""),
];

/// Variables that name a file or directory with secrets in it, with where these lie in it.
const SECRETS: &[(&str, &str)] = &[
    ("AWS_CONFIG_FILE", ""),
    ("AWS_SHARED_CREDENTIALS_FILE", ""),
    ("AZURE_CONFIG_DIR", ""),
    ("BUNDLE_USER_CONFIG", ""),
    ("BUN_INSTALL", "install/auth.json"),
    ("CARGO_HOME", "credentials"),
    ("CARGO_HOME", "credentials.toml"),
    ("CLAUDE_CONFIG_DIR", ""),
    ("CLOUDSDK_CONFIG", ""),
    ("CODEX_HOME", ""),
    ("COMPOSER_HOME", "auth.json"),
    ("DOCKER_CONFIG", ""),
    ("GNUPGHOME", ""),
    ("GOENV", ""),
    ("GOOGLE_APPLICATION_CREDENTIALS", ""),
    ("GRADLE_USER_HOME", "gradle.properties"),
    ("KUBECONFIG", ""),
    ("NETRC", ""),
    ("NPM_CONFIG_USERCONFIG", ""),
    ("PASSWORD_STORE_DIR", ""),
    ("PGPASSFILE", ""),
    ("PIP_CONFIG_FILE", ""),
    ("REGISTRY_AUTH_FILE", ""),
    ("SSH_AUTH_SOCK", ""),
    ("TF_CLI_CONFIG_FILE", ""),
    ("npm_config_userconfig", ""),
];

impl Host {
    /// Returns the directories of toolchains that the environment names.
    pub(crate) fn toolchains(&self) -> Vec<PathBuf> {
        let directories = self.named(TOOLCHAINS);
        directories
            .into_iter()
            .filter(|path| path.is_dir())
            .collect()
    }

    /// Returns the files and directories with secrets that the environment names.
    pub(crate) fn secrets(&self) -> Vec<PathBuf> {
        self.named(SECRETS)
    }

    fn named(&self, table: &[(&str, &str)]) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (name, rest) in table {
            // Some of them are lists.
            let listed = self
                .variable(name)
                .into_iter()
                .flat_map(std::env::split_paths);
            let absolute = listed.filter(|path| path.is_absolute() && path.parent().is_some());
            paths.extend(absolute.map(|path| {
                path.components()
                    .chain(Path::new(rest).components())
                    .collect::<PathBuf>()
            }));
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_environment_names_is_listed() {
        let pairs = [
            ("HOME", "/h"),
            ("CARGO_HOME", "/opt/cargo/"),
            ("KUBECONFIG", "/a/one:/b/two:relative"),
            ("GOPATH", "/"),
        ];
        let pairs = pairs.map(|(key, value)| (key.into(), value.into()));
        let host = Host::from_variables(pairs.to_vec());
        let expected = [
            "/opt/cargo/credentials",
            "/opt/cargo/credentials.toml",
            "/a/one",
            "/b/two",
        ];
        assert_eq!(host.secrets(), expected.map(PathBuf::from));
        // That one is not there.
        assert!(host.toolchains().is_empty());
    }
}
