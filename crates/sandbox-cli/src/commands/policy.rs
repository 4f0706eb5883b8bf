//! `sandbox policy`: rule packs and what is expected of them, checked before they count.

use std::path::{Path, PathBuf};

use sandbox_core::{expectations, rule_pack};
use serde_json::json;

use crate::{
    args::PolicyTestArgs,
    commands::{check, describe, input},
    exit_codes,
    failure::Failure,
    settings::{Settings, absolute},
    ui::{self, inline, one_line},
};

/// The widest command that is shown beside what is wrong with it.
const COMMAND_WIDTH: usize = 100;

/// Checks a rule pack by itself.
pub(crate) fn validate(settings: &Settings, file: &Path) -> Result<u8, Failure> {
    let pack = rule_pack(file, None)?;
    let rules: Vec<&str> = pack.rule_ids().collect();
    if settings.ui.is_json() {
        ui::print_json(&json!({"pack": pack.name(), "rules": rules}))?;
    } else {
        let count = rules.len();
        let name = inline(pack.name());
        ui::print(&format!(
            "{name}: {}, and all their examples hold\n",
            describe::counted(count as u64, "rule")
        ))?;
    }
    Ok(exit_codes::DONE)
}

/// Judges every command of a file of expectations.
pub(crate) fn test(settings: &Settings, args: &PolicyTestArgs) -> Result<u8, Failure> {
    let expected = expectations(&input::name(&args.file), &input::read_text(&args.file)?)?;
    let judge = check::judge(settings, &args.by)?;
    let mut failures = Vec::new();
    for expectation in &expected {
        let (verdict, problem) = expectation.check(&judge);
        let Some(problem) = problem else {
            continue;
        };
        failures.push(json!({
            "line": expectation.line, "command": expectation.command, "problem": problem,
            "verdict": verdict,
        }));
        if !settings.ui.is_json() {
            let rules: Vec<&str> = verdict.findings.iter().map(|it| it.rule.as_str()).collect();
            let line = format!(
                "{}:{}: {problem}: {} {}",
                inline(&input::name(&args.file)),
                expectation.line,
                one_line(&expectation.command, COMMAND_WIDTH),
                rules.join(" "),
            );
            ui::print(&format!("{}\n", line.trim_end()))?;
        }
    }
    let (all, failed) = (expected.len(), failures.len());
    if settings.ui.is_json() {
        ui::print_json(&json!({"expected": all, "failed": failed, "failures": failures}))?;
    } else {
        ui::print(&format!("{} of {all} as expected\n", all - failed))?;
    }
    Ok(if failed == 0 {
        exit_codes::DONE
    } else {
        exit_codes::NO
    })
}

/// A rule pack given on the command line, absolute.
pub(crate) fn packs(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    files.iter().map(|file| absolute(file)).collect()
}
