//! Where secrets lie: tables, so that they are easy to read and to extend.

use std::path::{Path, PathBuf};

/// Secrets below a home. Hidden wherever they would be visible: in a toolchain, in a workspace that holds the
/// home, in a path that was asked for.
pub(crate) const OF_A_HOME: &[&str] = &[
    ".aliyun",
    ".android/adbkey",
    ".aws",
    ".azure",
    ".bash_history",
    ".bitcoin",
    ".boto",
    ".bun/install/auth.json",
    ".bundle/config",
    ".cache/huggingface/token",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude",
    ".claude.json",
    ".codeium",
    ".codex",
    ".composer/auth.json",
    ".conda/.condarc",
    ".condarc",
    ".config/BraveSoftware",
    ".config/chromium",
    ".config/composer/auth.json",
    ".config/configstore",
    ".config/containers/auth.json",
    ".config/doctl",
    ".config/fly",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/github-copilot",
    ".config/go/env",
    ".config/google-chrome",
    ".config/heroku",
    ".config/hub",
    ".config/microsoft-edge",
    ".config/ngrok",
    ".config/op",
    ".config/pip",
    ".config/pypoetry",
    ".config/rclone",
    ".config/sops",
    ".config/stripe",
    ".config/uv",
    ".cursor",
    ".databrickscfg",
    ".docker",
    ".dotnet/corefx/cryptography",
    ".electrum",
    ".ethereum",
    ".fly",
    ".gem/credentials",
    ".gemini",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".hex/hex.config",
    ".ivy2/.credentials",
    ".kaggle",
    ".kube",
    ".local/share/atuin",
    ".local/share/fish/fish_history",
    ".local/share/gem/credentials",
    ".local/share/keyrings",
    ".local/share/opencode/auth.json",
    ".local/share/uv/credentials",
    ".m2/settings-security.xml",
    ".m2/settings.xml",
    ".mozilla",
    ".my.cnf",
    ".mylogin.cnf",
    ".mysql_history",
    ".netrc",
    ".node_repl_history",
    ".npmrc",
    ".nuget/NuGet",
    ".oci",
    ".password-store",
    ".pgpass",
    ".pki",
    ".psql_history",
    ".pulumi/credentials.json",
    ".pypirc",
    ".python_history",
    ".s3cfg",
    ".sbt/.credentials",
    ".snowflake",
    ".ssh",
    ".subversion/auth",
    ".terraform.d/credentials.tfrc.json",
    ".terraformrc",
    ".thunderbird",
    ".tsh",
    ".vault-token",
    ".wandb",
    ".yarnrc.yml",
    ".zsh_history",
];

/// What is a secret in any directory, not only in a home: no project has it.
pub(crate) const ANYWHERE: &[&str] = &[
    ".aws",
    ".azure",
    ".config/gcloud",
    ".docker/config.json",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".local/share/keyrings",
    ".netrc",
    ".password-store",
    ".pgpass",
    ".pypirc",
    ".ssh",
    ".vault-token",
];

/// Secrets in what every guest sees of the system.
pub(crate) const OF_THE_SYSTEM: &[&str] = &[
    "/etc/pki/tls/private",
    "/etc/ssl/private",
    "/usr/etc/npmrc",
    "/usr/local/etc/npmrc",
];

/// Returns the homes in the text of `passwd(5)`: other users' secrets are secrets too.
pub(crate) fn homes(passwd: &[u8]) -> Vec<PathBuf> {
    let lines = passwd.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.split(|byte| *byte == b':').nth(5))
        .filter_map(|home| Some(PathBuf::from(str::from_utf8(home).ok()?)))
        // `/`, `/bin` and `/usr/games` are homes of nobody.
        .filter(|home| home.is_absolute() && home.parent().is_some())
        .collect()
}

/// Returns the listening sockets with an absolute name in the text of `/proc/net/unix` (`proc_net_unix(5)`): the name
/// is the eighth field, and goes up to the end of its line.
pub(crate) fn sockets(table: &[u8]) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let lines = table.split(|byte| *byte == b'\n').skip(1);
    lines
        .filter_map(|line| {
            line.windows(2)
                .position(|it| it == b" /")
                .map(|at| &line[at + 1..])
        })
        .map(|name| Path::new(std::ffi::OsStr::from_bytes(name)).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_relative() {
        for table in [OF_A_HOME, ANYWHERE] {
            assert!(table.iter().all(|name| name.starts_with('.')));
            assert!(
                table.is_sorted_by_key(|name| name.to_lowercase()),
                "not sorted"
            );
        }
    }

    #[test]
    fn homes_are_read_as_the_system_writes_them() {
        let text =
            b"root:x:0:0:root:/root:/bin/bash\ntorn:x\nu:x:1:1::/home/u:/bin/sh\nn:x:2:2::/:/x\n";
        assert_eq!(homes(text), [Path::new("/root"), Path::new("/home/u")]);
    }

    #[test]
    fn sockets_are_read_as_the_kernel_writes_them() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20938 /run/a b/socket\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 1\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 2 @/abstract\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 2 relative\n";
        assert_eq!(sockets(text), [Path::new("/run/a b/socket")]);
    }
}
