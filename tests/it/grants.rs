//! What a grant to change a directory does not give: our own data, transactions and configuration that lie in it.

use std::{fs, os::unix::fs::symlink};

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
