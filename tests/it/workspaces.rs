//! Which directories can be a workspace, and what each of them gives: `docs/reference/workspaces.md` as tests.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
    process::{Command, Stdio},
};

use crate::lab::{Ended, Lab, program};

/// Writes one file; what it prints is seen by [`works`].
const WRITE: &str = "echo new > made && cat made";

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Says loudly that something was left out, or fails where everything was promised.
fn skipped(what: &str) {
    let required = std::env::var("SANDBOX_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!required, "this test needs {what}");
    eprintln!("SKIPPED: this test needs {what}");
}

/// Runs a command in `workspace`, and takes its change back.
#[track_caller]
fn works(lab: &Lab, workspace: &Path) {
    let args = ["run", "--shell", WRITE];
    let run = |args: &[&str]| {
        let output = lab.command(args).current_dir(workspace).output();
        Ended::of(output.unwrap(), args)
    };
    run(&args).code(0).prints("new");
    assert_eq!(fs::read_to_string(workspace.join("made")).unwrap(), "new\n");
    run(&["undo"]).code(0);
    assert!(!workspace.join("made").exists());
}

/// Asserts that no sandbox is made for `workspace`.
#[track_caller]
fn refused(lab: &Lab, workspace: &Path, says: &str) {
    for args in [&["create", "-w"][..], &["create", "--dry-run", "-w"]] {
        let output = lab.command(args).arg(workspace).output().unwrap();
        Ended::of(output, args).code(2).says(says);
    }
    let output = lab
        .command(&["run", "-w"])
        .arg(workspace)
        .args(["--", "true"])
        .output();
    Ended::of(output.unwrap(), &["run"]).code(2).says(says);
}

#[test]
fn names_are_taken_as_they_are() {
    for name in [
        "two words",
        "new\nline",
        "a,b:c\\d",
        "-w",
        "$(id)'\"",
        "ünïcode",
    ] {
        let lab = Lab::new();
        let workspace = lab.root().join("outside").join(name);
        fs::create_dir(&workspace).unwrap();
        works(&lab, &workspace);
    }
}

#[test]
fn a_name_that_is_no_text_is_refused() {
    let lab = Lab::new();
    let workspace = lab.root().join(OsStr::from_bytes(b"bad\xff"));
    fs::create_dir(&workspace).unwrap();
    refused(&lab, &workspace, "not UTF-8");
}

#[test]
fn links_lead_to_one_sandbox() {
    let lab = Lab::new();
    let outside = lab.root().join("outside");
    fs::create_dir_all(outside.join("real/workspace")).unwrap();
    symlink("real", outside.join("link")).unwrap();
    symlink("real/workspace", outside.join("workspace")).unwrap();
    for path in ["real/workspace", "link/workspace", "workspace"] {
        works(&lab, &outside.join(path));
    }
    let sandboxes = lab.sandbox(&["list", "--json"]).json();
    assert_eq!(sandboxes.as_array().unwrap().len(), 1, "{sandboxes:#}");
}

#[test]
fn directories_of_the_system_are_refused() {
    let lab = Lab::new();
    for path in [
        "/",
        "/usr",
        "/usr/lib",
        "/etc",
        "/etc/ssl",
        "/proc/self",
        "/sys",
        "/dev/shm",
        "/var",
        "/opt",
    ] {
        if Path::new(path).exists() {
            refused(&lab, Path::new(path), "it belongs to the system");
        }
    }
}

#[test]
fn what_holds_our_own_data_is_refused() {
    let lab = Lab::new();
    lab.sandbox(&["create"]).code(0);
    refused(&lab, lab.root(), "the sandbox's own data");
    refused(&lab, &lab.data(), "the sandbox's own data");
    refused(
        &lab,
        &lab.data().join("sandboxes"),
        "the sandbox's own data",
    );
}

#[test]
fn a_home_hides_its_secrets() {
    let lab = Lab::new();
    for (path, text) in [
        (".ssh/id", "canary"),
        (".netrc", "canary"),
        ("plain", "plain"),
    ] {
        let path = lab.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    works(&lab, &lab.home());
    let args = ["run", "--shell", "cat plain .netrc; cat .ssh/id || true"];
    let output = lab.command(&args).current_dir(lab.home()).output();
    let ended = Ended::of(output.unwrap(), &args);
    ended.code(0).prints("plain");
    assert!(!ended.stdout.contains("canary"), "{ended}");
}

#[test]
fn workspaces_in_each_other_have_histories_of_their_own() {
    let lab = Lab::new();
    let (above, below) = (lab.workspace(), lab.workspace().join("a/below"));
    fs::create_dir_all(&below).unwrap();
    let create = |path: &Path| {
        let output = lab.command(&["create", "-w"]).arg(path).output().unwrap();
        Ended::of(output, &["create"])
    };
    create(&below).code(0);
    create(&above).code(0);
    create(&below)
        .code(1)
        .says("already belongs to the sandbox 'below'");
    works(&lab, &below);
    works(&lab, &above);
}

#[test]
fn a_closed_directory_is_refused_and_a_private_one_is_not() {
    let lab = Lab::new();
    let workspace = lab.root().join("outside/private");
    fs::create_dir(&workspace).unwrap();
    let set = |mode| fs::set_permissions(&workspace, fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    refused(&lab, &workspace, "may not list and search it");
    set(0o700);
    works(&lab, &workspace);
    assert_eq!(fs::metadata(&workspace).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn what_belongs_to_another_user_stays_theirs() {
    if !is_root() {
        return skipped("root");
    }
    let lab = Lab::new();
    let workspace = lab.root().join("outside/theirs");
    fs::create_dir(&workspace).unwrap();
    std::os::unix::fs::chown(&workspace, Some(1234), Some(1234)).unwrap();
    works(&lab, &workspace);
    let args = ["run", "--shell", "id -u; echo x > theirs"];
    let output = lab.command(&args).current_dir(&workspace).output();
    Ended::of(output.unwrap(), &args).code(0).prints("1234");
    assert_eq!(fs::metadata(workspace.join("theirs")).unwrap().uid(), 1234);
}

#[test]
fn what_another_user_lets_everyone_write_has_transactions() {
    if !is_root() {
        return skipped("root");
    }
    let script = r#"
        mkdir shared; chmod 777 shared; cd shared
        sandbox run -q -- sh -c 'echo x > made; mkdir inner; echo y > inner/y'
        test "$(cat made inner/y)" = "$(printf 'x\ny')"
        sandbox undo -q; test ! -e made; test ! -e inner
        sandbox redo -q; test -e made
        sandbox snapshot create -q; sandbox run -q -- rm made
        sandbox snapshot restore -q "$(sandbox snapshot list --json | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' | head -n 1)"
        test -e made; test "$(stat -c %U .)" = root
        sandbox destroy -q; echo went well
    "#;
    with_mounts(65534, script).code(0).prints("went well");
}

#[test]
fn a_home_of_ours_that_cannot_be_is_refused_before_anything_is_done() {
    for home in ["/proc/x", "/dev/null/x"] {
        let lab = Lab::new().env("SANDBOX_HOME", home);
        for args in [&["create", "--dry-run"][..], &["create"]] {
            lab.sandbox(args)
                .code(1)
                .says(&format!("cannot use {home}"));
        }
    }
}

/// Runs a script of root's in a mount namespace of its own: whatever it mounts goes away with it. In it, `sandbox` is
/// the program, run as `$user`; `$1` is a new directory, which that user owns.
fn with_mounts(user: u32, script: &str) -> Ended {
    let lab = Lab::new();
    for path in [lab.root().to_owned(), lab.workspace(), lab.home()] {
        std::os::unix::fs::chown(&path, Some(user), Some(user)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copy = lab.root().join("program");
    fs::copy(program(), &copy).unwrap();
    let prologue = format!(
        "set -e; cd \"$1\"; sandbox() {{ setpriv --reuid {user} --regid {user} --clear-groups \"$program\" \"$@\"; }}\n\
         mine() {{ chown {user}:{user} \"$@\"; }}\n"
    );
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c"])
        .arg(format!("{prologue}{script}"))
        .arg("sh")
        .arg(lab.workspace())
        .env("program", &copy)
        .env("HOME", lab.home())
        .env("SANDBOX_HOME", lab.data())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ended::of(output, &[script])
}

/// Does so as root and as an unprivileged user.
#[track_caller]
fn mounted(script: &str, prints: &str) {
    if !is_root() {
        return skipped("root, to mount file systems");
    }
    for user in [0, 65534] {
        let ended = with_mounts(user, script);
        ended.code(0).prints(prints);
    }
}

/// Who runs commands in a workspace above would see, change and forge what undoes those of the one below.
#[test]
fn transactions_lie_in_no_workspace_of_another_sandbox() {
    let script = |first: &str| {
        format!(
            "mkdir m; mount -t tmpfs none m; mine m; cd m; mkdir sub; mine sub; {first}
             sandbox create lower -w sub 2>&1 | grep -o 'open to the commands of the sandbox .*;' || true
             ls -A . sub | grep -c '^.sandbox-layers' || true"
        )
    };
    // One more file system is mounted nowhere: without a sandbox above, they lie beside it.
    mounted(&script(""), "1\n");
    let ours = "sandbox create upper > /dev/null; ls -A .sandbox-layers-*;";
    mounted(
        &script(ours),
        ".gitignore\nupper\nopen to the commands of the sandbox 'upper';",
    );
}

/// Another home's lie in the same workspace: no command sees them either.
#[test]
fn transactions_of_another_home_in_a_workspace_are_covered_too() {
    mounted(
        "mkdir m; mount -t tmpfs none m; mine m; cd m; sandbox create > /dev/null
         SANDBOX_HOME=$SANDBOX_HOME/../other; sandbox create > /dev/null; ls -d .sandbox-layers-* | wc -l
         sandbox run -q --shell 'echo x > beside; for d in .sandbox-layers-*; do ls -A \"$d\"; { echo x > \"$d/forged\"; } 2> /dev/null || echo refused; done'
         cat beside; ls .sandbox-layers-*/forged 2> /dev/null | wc -l",
        "2\nrefused\nrefused\nx\n0\n",
    );
}

/// What cannot be listed cannot be covered, and is not shown.
#[test]
fn transactions_in_a_workspace_that_cannot_be_listed_are_not_shown() {
    if !is_root() {
        return skipped("root, to mount file systems");
    }
    let script = "mkdir m; mount -t tmpfs none m; mine m; cd m; sandbox create > /dev/null
                  for mode in 311 711; do chmod $mode .
                  sandbox run -q --shell 'echo ran' 2>&1 | grep -oE 'ran|cannot look for transactions'
                  done";
    with_mounts(65534, script)
        .code(0)
        .prints("cannot look for transactions\nran\n");
}

/// Who grants a volume, or what it is mounted below, grants no undo set in it: not of a sandbox whose home is another.
#[test]
fn a_grant_of_a_volume_is_none_of_the_transactions_in_it() {
    mounted(
        "mkdir -p v/m other; mount -t tmpfs none v/m; mkdir v/m/w; mine v/m; mine v/m/w; mine other
         (export SANDBOX_HOME=$PWD/../elsewhere; cd v/m/w; sandbox run --shell 'echo x > file'); mkdir v/m/plain; mine v/m/plain
         cd other; for grant in ../v/m ../v; do
         sandbox run -q --yes --write \"$(realpath $grant)\" --shell 'cd ../v/m; echo x > plain/file; for d in .sandbox-layers-*; do ls -A \"$d\"; { echo x > \"$d/forged\"; } 2> /dev/null || echo refused; done'
         done; cat ../v/m/plain/file; ls -d ../v/m/.sandbox-layers-* | wc -l; ls ../v/m/.sandbox-layers-*/forged 2> /dev/null | wc -l",
        "refused\nrefused\nx\n1\n0\n",
    );
}

/// Its owner could put something else in their place, which root would then change or delete.
#[test]
fn root_keeps_no_transactions_in_a_mount_point_of_another_user() {
    if !is_root() {
        return skipped("root, to mount file systems");
    }
    let script = |owner: &str| {
        format!(
            "mkdir m; mount -t tmpfs -o mode=755 none m; chown {owner} m; cd m
             sandbox run -- true 2>&1 | grep -o 'could be renamed by other users' || echo made
             ls -A | wc -l"
        )
    };
    with_mounts(0, &script("65534"))
        .code(0)
        .prints("renamed by other users\n0\n");
    with_mounts(0, &script("0")).code(0).prints("made\n1\n");
}

#[test]
fn a_mount_point_is_emptied_and_its_sandbox_destroyed() {
    mounted(
        "mkdir m; mount -t tmpfs none m; mine m; cd m; echo x > file; sandbox run --shell 'echo y > made'; cd ..
         sandbox destroy m --delete-workspace; ls -A m | wc -l; sandbox list | wc -l",
        "0\n0\n",
    );
}

/// Nothing beside it is on its file system: what undoes lies in it, and is no part of it for anybody.
#[test]
fn a_mount_point_holds_its_transactions() {
    mounted(
        "mkdir m; mount -t tmpfs none m; mine m; cd m; echo old > file; mine file
         sandbox run --shell 'echo new > file; echo x > made; rm -rf .sandbox-layers-* 2> /dev/null; ls -A .sandbox-layers-*'
         cat file made; id=$(sandbox snapshot create -q); sandbox undo
         test \"$(cat file)\" = old; test ! -e made; sandbox redo; cat file
         sandbox run --shell 'rm file made'; sandbox rollback \"$id\"; cat made
         sandbox snapshot restore \"$id\" --to ../out; ls -A ../out
         cat .sandbox-layers-*/.gitignore; sandbox destroy m; ls -A",
        "new\nx\nnew\nx\nfile\nmade\n*\nfile\nmade\n",
    );
    // What a command wrote there would be an undo set of its own making: the directory is covered.
    mounted(
        "mkdir m; mount -t tmpfs none m; mine m; cd m; sandbox create > /dev/null
         sandbox run --shell 'echo x > .sandbox-layers-*/forged || echo kept'; ls .sandbox-layers-*",
        "kept\nm\n",
    );
    // Nor is there a way around it for who may do less.
    mounted(
        "mkdir m; echo readable > m/file; mine m; mount --bind m m; mount -o remount,bind,ro m; cd m
         sandbox run -- true 2>&1 | grep -o 'no transaction is possible here' || true",
        "no transaction is possible here\n",
    );
}

/// Not part of the requirements: the same is tried without it in the tests of `sandbox-rollback`.
#[test]
fn a_workspace_on_fuse_is_written_directly_with_a_snapshot_before() {
    let found = Command::new("bindfs").arg("--version").output().is_ok();
    if !is_root() || !found || !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: this test needs root, bindfs and /dev/fuse");
        return;
    }
    let script = "mkdir real m; mkdir real/w; echo old > real/w/file; mkdir real/w/gone; mine real real/w real/w/file real/w/gone
         bindfs real m > /dev/null 2>&1; trap 'cd /; umount -l \"$1/m\"' EXIT; cd m/w
         sandbox run --shell 'echo new > file; rmdir gone; mkdir -p a/b; echo x > a/b/c' 2> ../../../home/said
         grep -o 'the workspace lies on a FUSE file system' ../../../home/said; cat file a/b/c
         sandbox undo; cat file; ls; sandbox redo; cat file a/b/c
         sandbox run --on-failure discard --shell 'rm -r a file; exit 3' || echo $?; ls
         sandbox destroy w; ls -A . ..";
    let ended = with_mounts(65534, script);
    let printed = "the workspace lies on a FUSE file system\nnew\nx\nold\nfile\ngone\nnew\nx\n3\na\nfile\n.:\na\nfile\n\n..:\nw\n";
    assert_eq!(ended.code(0).stdout, printed, "{ended}");
}

#[test]
fn a_workspace_with_other_file_systems_in_it_is_written_directly() {
    mounted(
        "mkdir m m/in; echo old > m/file; mount -t tmpfs none m/in; mine m m/in m/file; cd m
         sandbox run --json --shell 'echo new > file; echo x > in/made' > ../report
         grep -o 'what is in them cannot be undone' ../report; cat file in/made
         sandbox undo; cat file in/made; rm in/made",
        "what is in them cannot be undone\nnew\nx\nold\nx\n",
    );
}

#[test]
fn without_home_the_entry_of_the_user_tells_it() {
    let passwd = |entry: &str| {
        format!(
            "echo \"{entry}\" > passwd; mount --bind passwd /etc/passwd; mkdir m mine; mine m mine; cd m
             unset HOME SANDBOX_HOME; sandbox check -- ls > /dev/null
             sandbox run -q -- true 2> ../said || echo $?; grep -o 'set HOME, or SANDBOX_HOME' ../said || true
             ls ../mine/.local/share/sandbox/sandboxes 2> /dev/null || true"
        )
    };
    mounted(&passwd("me:x:$(stat -c %u .):0::$PWD/mine:/bin/sh"), "m\n");
    mounted(
        &passwd("other:x:4711:0::$PWD/mine:/bin/sh"),
        "2\nset HOME, or SANDBOX_HOME\n",
    );
}

#[test]
fn that_there_is_no_proc_is_said() {
    mounted(
        "mkdir m; mine m; cd m; umount -l /proc; sandbox run -- true 2> ../said || echo $?
         grep -o 'no /proc is mounted' ../said",
        "125\nno /proc is mounted\n",
    );
}

#[test]
fn that_there_is_no_transaction_is_said_before_the_command_runs() {
    mounted(
        "mkdir m m/in; mount -t tmpfs none m/in; mine m m/in; cd m
         sandbox run -q -- true; sandbox run --shell 'echo ran >&2' > ../said 2>&1
         head -1 ../said | grep -o 'no transaction: other file systems.*'; grep -c . ../said",
        "with a snapshot taken before; no rule looks at its changes\n2\n",
    );
}

/// The disk is full when the operation ends: its changes are held, and nothing more can be written down.
#[test]
fn what_could_not_be_written_down_is_not_said_to_be_killed() {
    mounted(
        "mkdir m; mount -t tmpfs -o size=24M none m; mkdir m/w m/home; mine m m/w m/home
         export SANDBOX_HOME=$PWD/m/home/data; cd m/w
         sandbox run -q -- true; sandbox run --shell 'head -c 60M /dev/zero > huge; true' 2> /dev/null || echo $?
         sandbox show | grep -o 'interrupted: .* held'; sandbox log | grep -o 'interrupted.*(held)' | tr -s ' '
         sandbox discard 2> /dev/null; ls -A",
        "125\ninterrupted: its report could not be written down; its changes are held\ninterrupted (held)\n",
    );
}

#[test]
fn what_a_host_does_not_hold_is_said_when_a_sandbox_is_made() {
    if !is_root() {
        return skipped("root, to become a user without cgroups");
    }
    let ended = with_mounts(
        65534,
        "mkdir m; mine m; echo 'resource_limits: {memory_mb: 512}' > limits.yaml; cd m
         sandbox create -c ../limits.yaml 2> ../said; sandbox run -- true 2> /dev/null && echo runs
         grep -o 'does not hold the memory limit of 512M' ../said && grep -o 'best_effort: true' ../said; true",
    );
    let told = "does not hold the memory limit of 512M\nbest_effort: true\n";
    let runs = ended.stdout.contains("runs\n");
    assert_eq!(ended.code(0).stdout.contains(told), !runs, "{ended}");
}

#[test]
fn a_read_only_workspace_is_not_changed() {
    mounted(
        "mkdir m; echo readable > m/file; mine m; mount --bind m m; mount -o remount,bind,ro m; cd m
         sandbox run --direct --shell 'cat file; echo x > made || echo kept'; ls",
        "readable\nkept\nfile\n",
    );
}

#[test]
fn a_workspace_on_an_overlay_is_written_directly_with_a_snapshot_before() {
    if !is_root() {
        return skipped("root, to mount file systems");
    }
    let script =
        "mkdir low up work m; mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work m
         mkdir m/w m/home; echo old > m/w/edit; mkdir m/w/gone; mine m m/w m/w/edit m/w/gone m/home
         cd m/home; export SANDBOX_HOME=$PWD/data; cd ../w";
    let change =
        "sandbox run --json --shell 'echo new > edit; rmdir gone; mkdir made; echo x > made/in'";
    let ended = with_mounts(65534, &format!("{script}; {change}"));
    let report = ended.code(0).json();
    assert_eq!(report["changes"]["settlement"], "committed");
    let missing = report["enforcement"]["missing"].to_string();
    assert!(
        missing.contains("lies on an overlay file system"),
        "{missing}"
    );
    let and_back = format!(
        "{script}; {change} > /dev/null; ls; sandbox undo; cat edit; ls; sandbox redo; cat edit made/in"
    );
    let ended = with_mounts(65534, &and_back);
    let printed = "edit\nmade\nold\nedit\ngone\nnew\nx\n";
    assert_eq!(ended.code(0).stdout, printed, "{ended}");
    // Root's command would have to be root there.
    let ended = with_mounts(0, &format!("{script}; sandbox run -- true && exit 1; true"));
    ended.code(0).says("has no idmapped mounts");
    // A directory that happens to be another overlay's upper layer is as good as any.
    mounted(
        "mkdir low up work m; mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work m; mine up
         cd up; sandbox run --shell 'echo x > made'; cat made; sandbox undo; sandbox destroy up",
        "x",
    );
}

#[test]
fn root_gives_no_direct_access_to_what_it_cannot_shift() {
    if !is_root() {
        return skipped("root, to mount file systems");
    }
    let script = "mkdir low up work m; mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work m; mkdir m/w
         cd m/w; sandbox run --direct --shell 'echo x > made' || echo \"code $?\"; ls";
    let ended = with_mounts(0, script);
    ended.code(0).says("has no idmapped mounts");
    assert_eq!(ended.stdout, "code 125\n", "{ended}");
    let ended = with_mounts(65534, &script.replace("mkdir m/w", "mkdir m/w; mine m/w"));
    assert_eq!(ended.code(0).stdout, "made\n", "{ended}");
}

#[test]
fn every_local_file_system_has_transactions() {
    if !is_root() {
        return skipped("root, to mount file systems");
    }
    mounted(
        "mkdir m; mount -t tmpfs none m; mkdir m/w; mine m m/w; cd m/w
         sandbox run --shell 'echo x > made'; cat made; sandbox undo; ls; sandbox destroy w",
        "x",
    );
    for kind in ["ext4", "xfs", "btrfs"] {
        let tool = format!("mkfs.{kind}");
        let found = Command::new(&tool).arg("-V").stderr(Stdio::null()).output();
        if found.is_err() {
            skipped(&tool);
            continue;
        }
        mounted(
            &format!(
                "truncate -s 320M image; {tool} -q image > /dev/null; mkdir m
                 mount -o loop image m || {{ echo 'SKIPPED: no {kind} or no loop device' >&2; echo x; exit 0; }}
                 mkdir m/w; mine m m/w; cd m/w; echo old > file; mine file
                 sandbox run --shell 'echo x > made; echo new > file; mkdir -p d/e'; cat made file
                 sandbox undo; test \"$(cat file)\" = old; test ! -e made; sandbox destroy w; cd ../..; umount m"
            ),
            "x",
        );
    }
}
