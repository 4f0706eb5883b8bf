//! Names whose answer changes between two looks: first a public address, then a private one.
//!
//! A name server of our own answers, on port 53 of a network namespace of its own, in which both addresses are this
//! machine's. The whole program runs there, with `/etc/resolv.conf` naming that server.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    attacker::FLAG,
    trial::{Reach, Trial, program, said, text_of},
};

/// Tries it, and one name that has both addresses at once.
pub(super) fn change_answers(trial: &mut Trial) {
    let heard = world(
        trial,
        &[&program(), FLAG, "visit", "outside.rebind.example", "2"],
    );
    let Some(heard) = heard else {
        return trial.cannot_show("rebinding: this user can make no network namespace of its own");
    };
    // The control: who trusts the name reaches the private address the second time.
    assert_eq!(heard, "public\nprivate\n");
    let inside = |name: &str, times: &str| {
        let sandbox = crate::lab::program();
        let program = program();
        let (sandbox, allowed) = (text_of(&sandbox), format!("{name}:8080"));
        let command = [
            &sandbox,
            "run",
            "--json",
            "--yes",
            "--no-session",
            "--read",
            &program,
            "--allow-host",
            &allowed,
            "--",
            &program,
            FLAG,
            "visit",
            name,
            times,
        ];
        let heard = world(trial, &command).unwrap_or_default();
        serde_json::from_str::<Value>(&heard).unwrap_or_else(|_| panic!("no report: {heard}"))
    };
    let reaches = |report: &Value| Reach::through_if(said(report).contains("private"));
    // One operation asks once, whatever the name's time to live.
    let twice = inside("once.rebind.example", "2");
    assert_eq!(said(&twice), "public\npublic\n", "{twice:#}");
    // The server counts from the beginning in each world: this name leads inside at once.
    let late = inside("late.rebind.example", "1");
    let why = "the name leads to 10.9.8.7, a private address";
    assert!(late["violations"].to_string().contains(why), "{late:#}");
    // A name with both: what is private is left out.
    let both = inside("both.rebind.example", "1");
    assert_eq!(said(&both), "public\n", "{both:#}");
    for (what, report) in [
        ("rebinding within an operation", &twice),
        ("rebinding before an operation", &late),
        ("a name with a public and a private address", &both),
    ] {
        trial.attempt(what, Reach::Through, reaches(report));
    }
}

/// Runs a command where the name server is ours, and returns what it printed; `None` if there can be no such place.
fn world(trial: &Trial, command: &[&str]) -> Option<String> {
    let names = trial.lab.root().join("resolv.conf");
    fs::write(
        &names,
        "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n",
    )
    .unwrap();
    let mut world = Command::new(program());
    world.args([FLAG, "world", &text_of(&names)]).args(command);
    let output = trial.as_caller(&mut world).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("no world: ") {
        return None;
    }
    Some(String::from_utf8(output.stdout).unwrap())
}
