//! The programs and what they are told; `$W` is the workspace, `$S` where they keep what they keep,
//! `$O` an empty directory. An empty script is a step that the program does not have.

/// A program that keeps states of a directory.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// What must be found on the path; empty for ours.
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    pub(super) prepare: &'static str,
    pub(super) take: &'static str,
    pub(super) difference: &'static str,
    pub(super) back: &'static str,
    pub(super) verify: &'static str,
    pub(super) verify_all: &'static str,
    pub(super) restore: &'static str,
}

/// No passwords are asked for, and nothing of the user's is read.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    ("RESTIC_PASSWORD", "benchmark"),
    ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_AUTHOR_NAME", "benchmark"),
    ("GIT_AUTHOR_EMAIL", "benchmark"),
    ("GIT_COMMITTER_NAME", "benchmark"),
    ("GIT_COMMITTER_EMAIL", "benchmark"),
];

/// Ours is the first.
pub(super) const PEERS: &[Peer] = &[
    Peer {
        name: "sandbox",
        program: "",
        package: "",
        prepare: "true",
        take: "exec \"$OURS\" \"$W\" \"$S\" take",
        difference: "exec \"$OURS\" \"$W\" \"$S\" diff",
        back: "exec \"$OURS\" \"$W\" \"$S\" back",
        verify: "exec \"$OURS\" \"$W\" \"$S\" verify",
        verify_all: "exec \"$OURS\" \"$W\" \"$S\" verify-all",
        restore: "exec \"$OURS\" \"$W\" \"$S\" to \"$O\"",
    },
    Peer {
        name: "restic",
        program: "restic",
        package: "restic",
        prepare: "restic -q -r \"$S/r\" init",
        take: "cd \"$W\"; exec restic -q -r \"$S/r\" backup .",
        difference: "exec restic -q -r \"$S/r\" diff $(restic -q -r \"$S/r\" snapshots --json |
            grep -o '\"short_id\":\"[0-9a-f]*' | tail -2 | cut -d'\"' -f4)",
        // Overwriting in place needs restic 0.17.
        back: "",
        verify: "exec restic -q -r \"$S/r\" check",
        verify_all: "exec restic -q -r \"$S/r\" check --read-data",
        restore: "exec restic -q -r \"$S/r\" restore latest --target \"$O\"",
    },
    Peer {
        name: "bupstash",
        program: "bupstash",
        package: "none: cargo install bupstash --locked, with libsodium-dev",
        prepare: "bupstash init -r \"$S/r\"; bupstash new-key -o \"$S/key\"",
        take: "if [ -e \"$S/id\" ]; then mv \"$S/id\" \"$S/before\"; fi
            exec bupstash put -q -r \"$S/r\" -k \"$S/key\" \"$W\" > \"$S/id\"",
        difference: "exec bupstash diff -q -r \"$S/r\" -k \"$S/key\" id=$(cat \"$S/before\") :: id=$(cat \"$S/id\")",
        back: "exec bupstash restore -q -r \"$S/r\" -k \"$S/key\" --into \"$W\" id=$(cat \"$S/id\")",
        verify: "",
        verify_all: "",
        restore: "exec bupstash restore -q -r \"$S/r\" -k \"$S/key\" --into \"$O\" id=$(cat \"$S/id\")",
    },
    Peer {
        name: "borg",
        program: "borg",
        package: "borgbackup",
        prepare: "borg init -e none \"$S/r\"",
        take: "cd \"$W\"; n=$(cat \"$S/n\" || echo 0); n=$((n + 1)); echo $n > \"$S/n\"
            exec borg create \"$S/r::$n\" .",
        difference: "n=$(cat \"$S/n\"); exec borg diff \"$S/r::$((n - 1))\" $n",
        back: "",
        verify: "exec borg check \"$S/r\"",
        verify_all: "exec borg check --verify-data \"$S/r\"",
        restore: "cd \"$O\"; exec borg extract \"$S/r::$(cat \"$S/n\")\"",
    },
    Peer {
        name: "git",
        program: "git",
        package: "git",
        prepare: "git init -q --bare \"$S/r\"; git --git-dir=\"$S/r\" config core.bare false",
        take: "cd \"$W\"; git --git-dir=\"$S/r\" --work-tree=. add -f -A .
            exec git --git-dir=\"$S/r\" --work-tree=. commit -q --allow-empty -m snapshot",
        difference: "exec git --git-dir=\"$S/r\" diff --name-status HEAD~1 HEAD",
        back: "cd \"$W\"; git --git-dir=\"$S/r\" --work-tree=. reset -q --hard
            exec git --git-dir=\"$S/r\" --work-tree=. clean -q -f -d -x",
        verify: "exec git --git-dir=\"$S/r\" fsck --connectivity-only",
        verify_all: "exec git --git-dir=\"$S/r\" fsck --full",
        restore: "cd \"$O\"; exec git --git-dir=\"$S/r\" --work-tree=. checkout -f HEAD -- .",
    },
    Peer {
        name: "tar|zstd",
        program: "zstd",
        package: "zstd",
        prepare: "true",
        take: "tar -C \"$W\" -cf - . | zstd -q -f -1 -T2 -o \"$S/a\"",
        difference: "",
        back: "",
        verify: "",
        verify_all: "exec zstd -q -t \"$S/a\"",
        restore: "zstd -q -d -c \"$S/a\" | tar -C \"$O\" -xpf -",
    },
    Peer {
        name: "rsync",
        program: "rsync",
        package: "rsync",
        prepare: "true",
        take: "exec rsync -aHAXS --delete \"$W/\" \"$S/copy/\"",
        difference: "",
        back: "exec rsync -aHAXS --delete \"$S/copy/\" \"$W/\"",
        verify: "",
        verify_all: "",
        restore: "exec rsync -aHAXS \"$S/copy/\" \"$O/\"",
    },
    Peer {
        name: "cp -a",
        program: "cp",
        package: "coreutils",
        prepare: "true",
        take: "if [ -e \"$S/copy\" ]; then exec cp -a -u \"$W/.\" \"$S/copy\"; fi
            exec cp -a \"$W\" \"$S/copy\"",
        difference: "",
        back: "",
        verify: "",
        verify_all: "",
        restore: "exec cp -a \"$S/copy/.\" \"$O\"",
    },
];
