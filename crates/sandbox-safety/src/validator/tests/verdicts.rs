//! The commands of `tests/verdicts/*.md` get the decisions that are written there.

use std::{fs, path::Path};

use super::judge;

struct Case {
    place: String,
    decision: String,
    rules: Vec<String>,
    command: String,
}

/// Reads the blocks of one file, each with the line before it: one command, or one a line.
fn cases(file: &str, text: &str) -> Vec<Case> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut before = String::new();
    while let Some((number, line)) = lines.next() {
        if !matches!(line, "```sh" | "```sh lines") {
            line.clone_into(&mut before);
            continue;
        }
        let body = lines.by_ref().map(|(_, line)| line);
        let command: Vec<&str> = body.take_while(|line| *line != "```").collect();
        let whole = command.join("\n");
        let texts = if line == "```sh" {
            vec![(number, whole.as_str())]
        } else {
            (number + 2..).zip(command).collect()
        };
        for (number, text) in texts {
            let mut words = before.split_whitespace().map(str::to_owned);
            found.push(Case {
                place: format!("{file}:{number}"),
                decision: words.next().unwrap_or_default(),
                rules: words.collect(),
                command: text.to_owned(),
            });
        }
    }
    found
}

#[test]
fn decisions_are_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/verdicts");
    let mut all = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for case in cases(&name, &fs::read_to_string(&path).unwrap()) {
            all += 1;
            let verdict = judge(&case.command);
            let rules: Vec<&str> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
            let missing = case
                .rules
                .iter()
                .any(|rule| !rules.contains(&rule.as_str()));
            if verdict.decision.to_string() != case.decision || missing {
                wrong.push(format!(
                    "{}: {} {rules:?}, not {} {:?}",
                    case.place, verdict.decision, case.decision, case.rules
                ));
            }
        }
    }
    assert!(all > 20 && wrong.is_empty(), "{all}\n{}", wrong.join("\n"));
}
