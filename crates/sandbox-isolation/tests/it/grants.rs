//! What is granted is seen as granted, and nothing more with it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
};

use sandbox_isolation::WorkspaceMode;

use crate::lab::{Collect, Lab, is_root, needs, outside};

/// Tries to connect to the socket `$1`.
const CONNECT: &str = "python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print(\"connected\")' \"$1\" 2>/dev/null || echo refused";

#[test]
fn a_read_only_part_of_a_workspace_stays_where_it_is() {
    let script = "mv a b && mkdir -p a/deep && echo evil > a/deep/file; cat a/deep/file";
    let mut control = Lab::new().file("workspace/a/deep/file", "old");
    assert_eq!(control.sh(script).output(), "evil", "control");
    let lab = Lab::new().file("workspace/a/deep/file", "old");
    let part = lab.workspace().join("a/deep/file");
    let mut lab = lab.with(|plan| plan.view.read = vec![part]);
    assert_eq!(lab.sh(script).output(), "old");
    assert!(!lab.workspace().join("b").exists());
}

#[test]
fn a_read_only_part_of_a_writable_grant_stays_where_it_is() {
    let script = "cd ../out; mv a b && mkdir -p a/deep && echo evil > a/deep/file; cat a/deep/file";
    for is_control in [true, false] {
        let lab = Lab::new().file("out/a/deep/file", "old");
        let out = lab.base().join("out");
        let mut lab = lab.with(|plan| {
            if !is_control {
                plan.view.read = vec![out.join("a/deep/file")];
            }
            plan.view.write = vec![out];
        });
        let expected = if is_control { "evil" } else { "old" };
        assert_eq!(lab.sh(script).output(), expected);
    }
}

/// What is covered would come to light under another name, or something else would take its place for the next one.
#[test]
fn a_hidden_part_of_a_writable_grant_stays_where_it_is() {
    let script = "cd ../out; mv a b; mkdir -p a/deep && echo evil > a/deep/file; \
                  cat b/deep/file a/deep/file 2>/dev/null; true";
    for is_control in [true, false] {
        let lab = Lab::new().file("out/a/deep/file", "canary\n");
        let out = lab.base().join("out");
        let hidden = out.join("a/deep");
        let mut lab = lab.with(|plan| {
            // Its name alone was enough before: the directory above it could be renamed.
            plan.view.hide = if is_control { Vec::new() } else { vec![hidden] };
            plan.view.write = vec![out.clone()];
        });
        let first = lab.sh(script).output().to_owned();
        let kept = fs::read_to_string(out.join("a/deep/file")).unwrap();
        if is_control {
            assert_eq!((first.as_str(), kept.as_str()), ("canary\nevil", "evil\n"));
        } else {
            assert_eq!(kept, "canary\n");
            assert!(!out.join("b").exists());
        }
    }
}

#[test]
fn a_hidden_part_of_a_workspace_that_is_changed_directly_stays_where_it_is() {
    for is_control in [true, false] {
        let lab = Lab::new().file("workspace/a/deep/file", "canary");
        let hidden = lab.workspace().join("a/deep/file");
        let mut lab = lab.with(|plan| {
            plan.view.hide = if is_control { Vec::new() } else { vec![hidden] };
            plan.workspace_mode = WorkspaceMode::Direct;
        });
        lab.sh("mv a b; true");
        assert_eq!(lab.workspace().join("b").exists(), is_control);
    }
}

#[test]
fn a_toolchain_in_a_writable_grant_stays_where_it_is() {
    for is_control in [true, false] {
        let lab = Lab::new().file("out/tools/deep/cargo/file", "");
        let out = lab.base().join("out");
        let mut lab = lab.with(|plan| {
            if !is_control {
                plan.view.toolchains = vec![out.join("tools/deep/cargo")];
            }
            plan.view.write = vec![out.clone()];
        });
        lab.sh("mv ../out/tools ../out/elsewhere; true");
        assert_eq!(out.join("elsewhere").exists(), is_control);
    }
}

#[test]
fn a_link_in_the_workspace_is_no_grant() {
    let lab = Lab::new().file("secret/key", "canary");
    symlink("../secret", lab.workspace().join("link")).unwrap();
    let link = lab.workspace().join("link");
    let mut lab = lab.with(|plan| plan.view.read = vec![link]);
    let error = lab.try_run(&["true"], Collect::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot grant"), "{error}");
    // The directory itself can be granted.
    let lab = Lab::new().file("secret/key", "readable");
    let secret = lab.base().join("secret");
    let mut lab = lab.with(|plan| plan.view.read = vec![secret]);
    assert_eq!(lab.sh("cat ../secret/key").output(), "readable");
}

#[test]
fn secrets_in_a_granted_directory_are_hidden() {
    let lab = Lab::new()
        .file("other/.ssh/id", "canary")
        .file("other/.netrc", "canary")
        .file("other/plain", "plain");
    let other = lab.base().join("other");
    assert!(outside("cat .ssh/id", &other).0, "control");
    let mut lab = lab.with(|plan| plan.view.read = vec![other]);
    let outcome = lab.sh("cd ../other; cat plain .netrc; cat .ssh/id; ls .ssh; true");
    assert_eq!(outcome.output(), "plain");
}

#[test]
fn a_secret_that_is_granted_by_name_is_visible_and_its_neighbours_are_not() {
    let lab = Lab::new()
        .file("home/.ssh/id", "canary")
        .file("home/.ssh/known_hosts", "known")
        .file("home/.aws/config", "asked for");
    let home = lab.home();
    let mut lab = lab.with(|plan| {
        plan.view.read = vec![
            home.join(".ssh/known_hosts"),
            home.join(".aws"),
            home.clone(),
        ];
    });
    let outcome = lab.sh("cat ~/.ssh/known_hosts ~/.aws/config; cat ~/.ssh/id; ls ~/.ssh");
    assert_eq!(outcome.output(), "knownasked forknown_hosts");
}

#[test]
fn what_the_environment_names_is_known() {
    let lab = Lab::new()
        .file("tools/cargo/registry", "visible")
        .file("tools/cargo/credentials.toml", "canary");
    let cargo = lab.base().join("tools/cargo");
    let mut lab = lab.with(|plan| {
        plan.view.secrets = vec![cargo.join("credentials.toml"), "/dev/null".into()];
        plan.view.toolchains = vec![cargo];
    });
    let outcome = lab.sh("cd ../tools/cargo; cat registry credentials.toml; : > /dev/null");
    assert_eq!(outcome.output(), "visible");
}

#[test]
fn the_search_path_brings_no_project_with_it() {
    let lab = Lab::new()
        .file(
            "project/bin/tool",
            "#!/bin/sh\ncat ../project/lib/library\n",
        )
        .file("project/lib/library", "library")
        .file("project/.env", "canary");
    let bin = lab.base().join("project/bin");
    fs::set_permissions(bin.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = lab.with(|plan| plan.view.search_path = bin.into());
    let outcome = lab.sh("../project/bin/tool; cat ../project/.env");
    assert_eq!(outcome.stdout, "library", "{outcome:?}");
}

#[test]
fn a_socket_in_a_granted_directory_cannot_be_connected_to() {
    if !needs(outside("python3 -c 1", "/".as_ref()).0, "python3") {
        return;
    }
    for is_asked_for in [true, false] {
        let lab = Lab::new().file("granted/file", "readable");
        let socket = lab.base().join("granted/socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        let granted = lab.base().join("granted");
        let mut lab = lab.with(|plan| {
            plan.view.read = vec![if is_asked_for {
                socket.clone()
            } else {
                granted
            }];
        });
        // The control: who asks for the socket gets it.
        let expected = if is_asked_for { "connected" } else { "refused" };
        let outcome = lab.run(&["sh", "-c", CONNECT, "sh", socket.to_str().unwrap()]);
        assert_eq!(outcome.output(), expected);
    }
}

/// Nothing was granted: a program of the host listens in what everybody sees, below `/opt` for example.
#[test]
fn a_socket_beside_a_toolchain_cannot_be_connected_to() {
    if !needs(outside("python3 -c 1", "/".as_ref()).0, "python3") {
        return;
    }
    for (is_control, is_bound_by_a_link) in [(true, false), (false, false), (false, true)] {
        let lab = Lab::new().file("tools/cargo/file", "readable");
        let socket = lab.base().join("tools/cargo/socket");
        symlink("tools/cargo", lab.base().join("link")).unwrap();
        let listener = || {
            // The table of sockets has the name that the program gave.
            let place = if is_bound_by_a_link {
                "link"
            } else {
                "tools/cargo"
            };
            let listener = UnixListener::bind(lab.base().join(place).join("socket")).unwrap();
            fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
            listener
        };
        // The control: the table of sockets does not have one that was renamed, which is a limit.
        let _listener = listener();
        let aim = if is_control {
            let renamed = socket.with_file_name("renamed");
            fs::rename(&socket, &renamed).unwrap();
            renamed
        } else {
            socket.clone()
        };
        let cargo = lab.base().join("tools/cargo");
        let mut lab = lab.with(|plan| plan.view.toolchains = vec![cargo]);
        let outcome = lab.run(&["sh", "-c", CONNECT, "sh", aim.to_str().unwrap()]);
        let expected = if is_control { "connected" } else { "refused" };
        assert_eq!(outcome.output(), expected);
    }
}

#[test]
fn a_socket_in_a_direct_workspace_cannot_be_connected_to() {
    if !needs(outside("python3 -c 1", "/".as_ref()).0, "python3") {
        return;
    }
    let mut lab = Lab::new();
    let socket = lab.workspace().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let control = CONNECT.replace("\"$1\"", socket.to_str().unwrap());
    let control = outside(&control, &lab.workspace());
    assert_eq!(control, (true, "connected".to_owned()));
    let outcome = lab.run(&["sh", "-c", CONNECT, "sh", socket.to_str().unwrap()]);
    assert_eq!(outcome.output(), "refused");
}

#[test]
fn a_workspace_below_a_closed_directory_is_reached() {
    if !needs(is_root(), "root") {
        return;
    }
    for overlay in [true, false] {
        let lab = Lab::new().file("tools/closed/secret", "canary");
        let tools = lab.base().join("tools");
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(tools.join("closed"), closed).unwrap();
        let workspace = tools.join("closed/workspace");
        fs::create_dir(&workspace).unwrap();
        let lab = if overlay { lab.overlay() } else { lab };
        let mut lab = lab.with(|plan| {
            plan.view.search_path = tools.into();
            plan.cwd.clone_from(&workspace);
            plan.workspace = workspace;
        });
        assert_eq!(
            lab.sh("echo x > made; ls .. .").output(),
            ".:\nmade\n\n..:\nworkspace"
        );
    }
}

#[test]
fn a_disk_limit_tells_what_it_does_not_count() {
    let lab = Lab::new().file("out/file", "");
    let out = lab.base().join("out");
    let mut lab = lab.with(|plan| {
        plan.view.write = vec![out];
        let bytes = sandbox_types::Bytes::mib(1);
        plan.limits.disk = Some(sandbox_types::Limit::requested(bytes));
    });
    let missing = lab.sh("true").ended.enforcement.missing.join("\n");
    assert!(missing.contains("disk limit does not hold"), "{missing}");
}
