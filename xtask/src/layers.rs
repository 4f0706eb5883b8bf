//! `cargo xtask layers`: the dependency rules that Cargo itself cannot state.

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;

/// Workspace crates from the bottom up, each with the ones it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("sandbox-types", &[]),
    ("sandbox-safety", &["sandbox-types"]),
    ("sandbox-isolation", &["sandbox-types"]),
    ("sandbox-rollback", &["sandbox-types"]),
    ("sandbox-state", &["sandbox-types"]),
    ("sandbox-monitor", &["sandbox-types"]),
    (
        "sandbox-core",
        &[
            "sandbox-types",
            "sandbox-safety",
            "sandbox-isolation",
            "sandbox-rollback",
            "sandbox-state",
            "sandbox-monitor",
        ],
    ),
    ("sandbox-cli", &["sandbox-types", "sandbox-core"]),
    (
        "xtask",
        &[
            "sandbox-types",
            "sandbox-safety",
            "sandbox-state",
            "sandbox-core",
        ],
    ),
];

/// Third-party crates that belong to some crates only.
const HOMES: &[(&str, &[&str])] = &[
    ("aho-corasick", &["sandbox-core", "sandbox-safety"]),
    ("anyhow", &["sandbox-cli", "xtask"]),
    ("brush-parser", &["sandbox-safety"]),
    ("chacha20poly1305", &["sandbox-state", "sandbox-rollback"]),
    ("clap", &["sandbox-cli"]),
    ("clap_complete", &["sandbox-cli"]),
    ("clap_mangen", &["sandbox-cli"]),
    ("fastcdc", &["sandbox-rollback"]),
    ("figment", &["sandbox-core"]),
    ("ignore", &["sandbox-rollback"]),
    ("infer", &["sandbox-safety"]),
    ("landlock", &["sandbox-isolation"]),
    ("libc", &["sandbox-isolation"]),
    ("memmap2", &["sandbox-state"]),
    ("procfs", &["sandbox-monitor"]),
    ("redb", &["sandbox-state", "sandbox-rollback"]),
    ("rusqlite", &["xtask"]),
    ("seccompiler", &["sandbox-isolation"]),
    ("serde-saphyr", &["sandbox-core", "sandbox-safety"]),
    ("strsim", &["sandbox-types"]),
    ("tokio", &["sandbox-core", "sandbox-cli"]),
    ("zeroize", &["sandbox-state", "sandbox-rollback"]),
    ("zstd", &["sandbox-state", "sandbox-rollback"]),
];

/// Checks every `[dependencies]` and `[build-dependencies]` entry against the two tables.
pub(crate) fn check() -> anyhow::Result<()> {
    let violations = violations(&metadata()?)?;
    if violations.is_empty() {
        return Ok(());
    }
    bail!(
        "{} layer violation(s)\n{}",
        violations.len(),
        violations.join("\n")
    )
}

fn violations(metadata: &Value) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let name = name_of(package)?;
        let Some((_, allowed)) = LAYERS.iter().find(|(it, _)| *it == name) else {
            found.push(format!(
                "{name}: not in LAYERS; give it a layer in xtask/src/layers.rs"
            ));
            continue;
        };
        let dependencies = package["dependencies"].as_array();
        for dependency in dependencies.context("no dependencies")? {
            if dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            let on = name_of(dependency)?;
            let is_member = LAYERS.iter().any(|(it, _)| *it == on);
            if is_member && !allowed.contains(&on) {
                found.push(format!("{name} -> {on}: allowed are {allowed:?}"));
            }
            if let Some((_, homes)) = HOMES.iter().find(|(it, _)| *it == on)
                && !homes.contains(&name)
            {
                found.push(format!("{name} -> {on}: {on} belongs to {homes:?}"));
            }
        }
    }
    Ok(found)
}

fn name_of(entry: &Value) -> anyhow::Result<&str> {
    entry["name"].as_str().context("an entry without a name")
}

fn metadata() -> anyhow::Result<Value> {
    let mut cargo = process::cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    serde_json::from_slice(&process::read(&mut cargo)?).context("cannot read cargo's metadata")
}

#[cfg(test)]
mod tests {
    use super::{HOMES, LAYERS, metadata, violations};

    #[test]
    fn the_workspace_is_layered() {
        let metadata = metadata().unwrap();
        assert_eq!(violations(&metadata).unwrap(), Vec::<String>::new());
        let members = metadata["packages"].as_array().unwrap().len();
        assert_eq!(members, LAYERS.len(), "a layer without a crate");
        let known = |name: &&str| LAYERS.iter().any(|(it, _)| it == name);
        assert!(HOMES.iter().all(|(_, homes)| homes.iter().all(known)));
    }

    #[test]
    fn a_sideways_edge_is_found() {
        let metadata = serde_json::json!({"packages": [{"name": "sandbox-monitor", "dependencies": [
            {"name": "sandbox-isolation", "kind": null},
            {"name": "tokio", "kind": "build"},
            {"name": "tokio", "kind": "dev"},
            {"name": "sandbox-types", "kind": null},
        ]}]});
        let found = violations(&metadata).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("sandbox-monitor -> sandbox-isolation"));
        assert!(found[1].starts_with("sandbox-monitor -> tokio"));
    }

    #[test]
    fn an_upward_edge_and_an_unknown_crate_are_found() {
        let metadata = serde_json::json!({"packages": [
            {"name": "sandbox-types", "dependencies": [{"name": "sandbox-core", "kind": null}]},
            {"name": "sandbox-extra", "dependencies": []},
        ]});
        assert_eq!(violations(&metadata).unwrap().len(), 2);
    }
}
