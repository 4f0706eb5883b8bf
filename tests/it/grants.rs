//! What a grant to change a directory does not give: our own data, transactions and configuration that lie in it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown, symlink},
    path::Path,
};

use crate::lab::Lab;

/// The name is made up of pieces: the judge knows the whole one.
const RENAME: &str =
    r#"cd "$0" && mv sh"a"re elsewhere; mkdir -p share/sandbox/sandboxes; ls elsewhere 2>&1; true"#;

#[test]
fn our_own_data_stays_where_it_is_in_a_grant_above_it() {
    let lab = Lab::new();
    let granted = lab.home().join("granted");
    let data = granted.join("share/sandbox");
    fs::create_dir_all(&granted).unwrap();
    let write = granted.display().to_string();
    let run = |options: &[&str]| {
        let mut args = vec!["run", "--yes"];
        args.extend(options);
        args.extend(["--write", &write, "--", "sh", "-c", RENAME, &write]);
        let mut command = lab.command(&args);
        let output = command.env("SANDBOX_HOME", &data).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run(&[]);
    assert!(!granted.join("elsewhere").exists());
    assert!(data.join("sandboxes").join("workspace").is_dir());
    let destroy = ["destroy", "-s", "workspace"];
    let mut command = lab.command(&destroy);
    let destroyed = command.env("SANDBOX_HOME", &data).status().unwrap();
    assert!(destroyed.success());
    // The control: with the data elsewhere, it is a directory as any other.
    lab.sandbox(&[
        "run", "--yes", "--write", &write, "--", "sh", "-c", RENAME, &write,
    ])
    .code(0);
    assert!(granted.join("elsewhere").exists());
}

#[test]
fn a_grant_of_the_home_is_none_of_the_configuration() {
    let lab = Lab::new();
    let home = lab.home();
    fs::create_dir_all(&home).unwrap();
    let file = home.join(".config/sandbox/config.yaml");
    // The judge knows the whole name.
    let text = "d=$(echo ~/.config/sandb; echo ox); d=$(echo $d | tr -d ' '); mkdir -p $d; echo > $d/config.yaml; echo > ~/beside; true";
    let write = home.display().to_string();
    lab.sandbox(&["run", "--yes", "--write", &write, "--shell", text])
        .code(0);
    assert!(!file.exists());
    // The control: what lies beside it was granted.
    assert!(home.join("beside").exists());
}

/// A root whose `HOME` is somebody's: nothing of root's is made there, and nothing is granted that could be.
#[test]
fn nothing_is_made_in_the_home_of_another_user() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("SKIPPED: this test needs root, for a home of another user");
        return;
    }
    let lab = Lab::new();
    let home = lab.home();
    fs::create_dir_all(home.join("below")).unwrap();
    chown(&home, Some(65534), Some(65534)).unwrap();
    let run = |grant: &Path| {
        let write = grant.display().to_string();
        lab.sandbox(&["run", "--yes", "--write", &write, "true"])
    };
    run(&home)
        .code(125)
        .says("cannot cover the place of your configuration")
        .says("a directory of another user");
    run(&home.join("below")).code(0);
    assert!(!home.join(".config").exists());
    // Nor through a link that leads there from a home of root's.
    chown(&home, Some(0), Some(0)).unwrap();
    let theirs = home.join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(65534), Some(65534)).unwrap();
    symlink("theirs", home.join(".config")).unwrap();
    run(&theirs).code(125).says("a directory of another user");
    assert!(!theirs.join("sandbox").exists());
    // The control: in root's own it is made, and covered.
    fs::remove_file(home.join(".config")).unwrap();
    run(&home).code(0);
    assert!(home.join(".config/sandbox").is_dir());
}

/// Dotfiles: the configuration, or its directory, is a link to a place that the user keeps elsewhere.
#[test]
fn links_to_the_configuration_are_followed() {
    let lab = Lab::new();
    let home = lab.home();
    let (dotfiles, config) = (home.join("dotfiles"), home.join(".config/sandbox"));
    fs::create_dir_all(&dotfiles).unwrap();
    fs::create_dir_all(&config).unwrap();
    fs::write(dotfiles.join("rules.yaml"), "isolation: {}\n").unwrap();
    symlink(dotfiles.join("rules.yaml"), config.join("config.yaml")).unwrap();
    let write = home.display().to_string();
    let attack = "echo 'safety_constraints: {}' > ~/dotfiles/rules.yaml; mv ~/dotfiles/rules.yaml ~/dotfiles/x; \
                  echo x > ~/dotfiles/beside; true";
    let args = ["run", "--yes", "--write", &write, "--shell", attack];
    lab.sandbox(&args).code(0);
    let kept = fs::read_to_string(dotfiles.join("rules.yaml")).unwrap();
    assert_eq!(kept, "isolation: {}\n");
    assert!(dotfiles.join("beside").exists(), "the control");

    fs::rename(home.join(".config"), dotfiles.join("config")).unwrap();
    symlink("dotfiles/config", home.join(".config")).unwrap();
    lab.sandbox(&args)
        .code(2)
        .says("a link that leads to your configuration lies in it");
    // The control: below it there is none.
    let below = dotfiles.display().to_string();
    lab.sandbox(&["run", "--yes", "--write", &below, "true"])
        .code(0);
}

/// A record that was not written by us.
#[test]
fn guests_never_run_with_ids_that_are_not_ours() {
    let lab = Lab::new();
    lab.sandbox(&["run", "true"]).code(0);
    let record = lab.data().join("sandboxes/workspace/sandbox.json");
    let text = fs::read_to_string(&record).unwrap();
    let ids = text.split("\"host_ids\":").nth(1).unwrap();
    let ids = ids.split([',', '}']).next().unwrap().trim().to_owned();
    fs::write(&record, text.replace(&ids, "0")).unwrap();
    lab.sandbox(&["run", "true"]).says("host_ids");
    fs::write(&record, text).unwrap();
    lab.sandbox(&["run", "true"]).code(0);
}

/// Transactions of another home, or of a sandbox whose record this program cannot use, in what is granted.
#[test]
fn a_grant_is_none_of_the_undo_sets_in_it() {
    let lab = Lab::new();
    let granted = lab.home().join("granted");
    let (top, deep) = (
        granted.join(".sandbox-layers-0-12345678/a/undo"),
        granted.join("below/.sandbox-layers-0-12345678/a/undo"),
    );
    let beside = granted.join("below/a/undo");
    for place in [&top, &deep, &beside] {
        fs::create_dir_all(place).unwrap();
    }
    let write = granted.display().to_string();
    let attack = "cd \"$1\" && for d in below/a/undo .sandbox-layers-*/a/undo below/.sandbox-layers-*/a/undo; do \
                  echo x > \"$d/forged\"; done; true";
    let run = |grant: &str| {
        lab.sandbox(&[
            "run", "--yes", "--write", grant, "--", "sh", "-c", attack, "sh", &write,
        ])
    };
    // The control: nobody says that those below are any.
    run(&write).code(0);
    assert!(!top.join("forged").exists());
    assert!(deep.join("forged").exists() && beside.join("forged").exists());
    fs::remove_file(deep.join("forged")).unwrap();

    // A sandbox that a newer program has made says it.
    let other = lab.root().join("outside/other");
    fs::create_dir_all(&other).unwrap();
    lab.sandbox(&["create", "-w", other.to_str().unwrap()])
        .code(0);
    let record = lab.data().join("sandboxes/other/sandbox.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut newer: serde_json::Value = serde_json::from_str(&text).unwrap();
    newer["format"] = 2.into();
    newer["layers"] = deep.parent().unwrap().to_str().into();
    fs::write(&record, newer.to_string()).unwrap();
    run(&write).code(0);
    assert!(!top.join("forged").exists() && !deep.join("forged").exists());

    // Where one says nothing, nothing is granted.
    fs::write(&record, "{}").unwrap();
    run(&write).code(125).says("cannot cover the transactions");
    lab.sandbox(&["run", "true"]).code(0);
    fs::write(&record, text).unwrap();
    run(&write).code(0);

    // Nor is a part of them granted, or of our own data: a cover lies over the whole.
    for part in ["", "layers", "sandboxes/workspace"] {
        let part = lab.data().join(part).display().to_string();
        run(&part).code(2).says("lies in the sandbox's own data");
    }
    let inside = top.display().to_string();
    run(&inside)
        .code(2)
        .says("lies in the transactions of a sandbox");
}
