//! The page that tells where every component, method and key is: what it shows is true.

use std::{fs, process::Command};

use crate::lab::{Ended, Lab, program};

const PAGE: &str = include_str!("../../docs/guide/components.md");

/// Returns the text of every block of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let mut rest = PAGE;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once(&fence) {
        let (block, beyond) = after.split_once("\n```").unwrap();
        found.push(block);
        rest = beyond;
    }
    found
}

#[test]
fn its_commands_work() {
    let blocks = blocks("sh");
    assert!(blocks.len() >= 5, "{} blocks of shell text", blocks.len());
    // What is shown to fail must fail.
    let failing = " || test ";
    assert!(blocks.iter().any(|it| it.contains(failing)));
    for block in blocks {
        let block = &block.replace(failing, " && exit 99 || test ");
        let lab = Lab::new();
        let directory = program().parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-euc", block])
            .current_dir(lab.workspace())
            .env("PATH", format!("{directory}:{path}"))
            .env("SANDBOX_HOME", lab.data())
            .env("HOME", lab.home())
            .env_remove("SANDBOX_NAME");
        Ended::of(shell.output().unwrap(), &[block]).code(0);
    }
}

#[test]
fn its_configuration_and_its_operation_are_accepted() {
    let lab = Lab::new();
    for block in blocks("yaml") {
        let file = lab.root().join("config.yaml");
        fs::write(&file, block).unwrap();
        lab.sandbox(&["config", "validate", file.to_str().unwrap()])
            .code(0);
    }
    let [document] = blocks("json")[..] else {
        panic!("one operation document was expected");
    };
    // Nothing is written to output.txt, and nothing has to be.
    let ended = lab.sandbox_with_input(&["run", "--operation", "-"], document);
    ended.code(0).prints("Hello, Sandbox!");
}

#[test]
fn it_names_every_command() {
    let lab = Lab::new();
    let help = lab.sandbox(&["--help"]);
    let commands = help
        .code(0)
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|name| {
            ![
                "help",
                "demo",
                "list",
                "log",
                "show",
                "config",
                "completions",
                "man",
            ]
            .contains(name)
        });
    let unnamed: Vec<_> = commands
        .filter(|name| {
            !PAGE.contains(&format!("`{name}")) && !PAGE.contains(&format!("sandbox {name}"))
        })
        .collect();
    assert!(unnamed.is_empty(), "not on the page: {unnamed:?}");
}
