//! The customer's document, the ranges, the builder.

use super::*;
use crate::LimitSource;
use crate::{Bytes, Limit};

const CUSTOMER: &str = r#"{"sandbox_id": "my-sandbox", "workspace_path": "/tmp/sandbox-workspace",
"resource_limits": {"memory_mb": 1024, "cpu_percent": 50, "disk_mb": 2048},
"safety_constraints": {"max_snapshots": 10, "compress_snapshots": true, "network": {"allow_external": false}},
"monitoring_config": {"collection_interval": 30, "health_check_interval": 60,
"resource_thresholds": {"cpu_percent": 80, "memory_percent": 80}}}"#;

#[test]
fn the_customers_keys_load_and_come_back() {
    let config: SandboxConfig = serde_json::from_str(CUSTOMER).unwrap();
    config.validate().unwrap();
    let limits = config.limits().unwrap();
    assert_eq!(limits.memory, Some(Limit::requested(Bytes::mib(1024))));
    assert_eq!(limits.cpu_percent, Some(Limit::requested(50)));
    assert_eq!(limits.disk, Some(Limit::requested(Bytes::mib(2048))));
    assert_eq!(limits.processes, Limits::default().processes);
    assert_eq!(config.network(), NetworkAccess::None);
    let again = serde_json::to_value(&config).unwrap();
    let given: serde_json::Value = serde_json::from_str(CUSTOMER).unwrap();
    assert_eq!(again, given);
}

#[test]
fn the_built_in_configuration_is_the_built_in_limits() {
    let mut limits = SandboxConfig::built_in().limits().unwrap();
    assert_eq!(limits.wall_time.unwrap().source, LimitSource::Requested);
    let built_in = Limits::default();
    for (limit, default) in [
        (&mut limits.memory, built_in.memory),
        (&mut limits.disk, built_in.disk),
        (&mut limits.tmp_size, built_in.tmp_size),
    ] {
        assert_eq!(limit.map(|it| it.value), default.map(|it| it.value));
    }
    assert_eq!(limits.output, built_in.output);
    assert_eq!(SandboxConfig::default().limits().unwrap(), built_in);
    SandboxConfig::built_in().validate().unwrap();
}

#[test]
fn every_range_refuses_what_lies_just_outside() {
    for range in RANGES {
        for (value, legal) in [
            (range.min, true),
            (range.max, true),
            (range.min - 1, false),
            (range.max + 1, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            let config = with_number(range.key, value);
            match config.validate() {
                Ok(()) => assert!(legal, "{} = {value}", range.key),
                Err(error) => {
                    assert!(!legal, "{error}");
                    assert_eq!(error.key, range.key);
                    assert_eq!(error.value, value.to_string());
                }
            }
        }
    }
}

/// Returns a configuration where only `key` is set.
fn with_number(key: &str, value: i64) -> SandboxConfig {
    let mut document = serde_json::json!(value);
    for part in key.rsplit('.') {
        document = serde_json::json!({ part: document });
    }
    serde_json::from_value(document).unwrap()
}

#[test]
fn texts_are_checked() {
    for (document, key) in [
        (r#"{"sandbox_id": "../etc"}"#, "sandbox_id"),
        (r#"{"workspace_path": "here"}"#, "workspace_path"),
        (
            r#"{"resource_limits": {"wall_time": "0s"}}"#,
            "resource_limits.wall_time",
        ),
        (
            r#"{"resource_limits": {"wall_time": "-3s"}}"#,
            "resource_limits.wall_time",
        ),
        (
            r#"{"resource_limits": {"wall_time": "9000h"}}"#,
            "resource_limits.wall_time",
        ),
        (
            r#"{"isolation": {"hide": ["/ok", "~/.aws"]}}"#,
            "isolation.hide[1]",
        ),
        (
            r#"{"isolation": {"read": ["/a\u0000b"]}}"#,
            "isolation.read[0]",
        ),
        (
            r#"{"isolation": {"seccomp": "loose"}}"#,
            "isolation.seccomp",
        ),
        (
            r#"{"isolation": {"allow_degraded": ["namespaces", "landlock"]}}"#,
            "isolation.allow_degraded[1]",
        ),
        (
            r#"{"isolation": {"env_pass": ["A=B"]}}"#,
            "isolation.env_pass[0]",
        ),
        (
            r#"{"isolation": {"env_set": {"A": "\u0000"}}}"#,
            "isolation.env_set.A",
        ),
    ] {
        let config: SandboxConfig = serde_json::from_str(document).unwrap();
        let error = config.validate().unwrap_err();
        assert_eq!(error.key, key, "{error}");
        assert!(!error.to_string().contains('\0'), "{error:?}");
    }
}

#[test]
fn limits_refuse_what_validate_refuses() {
    let config = with_number("resource_limits.memory_mb", 0);
    assert_eq!(
        config.limits().unwrap_err().to_string(),
        "cannot use 0 for `resource_limits.memory_mb`: must be at least 4 MiB (no program starts with less)"
    );
}

#[test]
fn a_draft_is_checked_when_it_is_built() {
    let config = SandboxConfig::builder("my-sandbox")
        .workspace("/tmp/my-sandbox")
        .memory("1GiB")
        .cpu_percent(50)
        .disk("2G")
        .wall_time("30s")
        .profile(SafetyProfile::Strict)
        .build()
        .unwrap();
    let limits = config.limits().unwrap();
    assert_eq!(limits.disk, Some(Limit::requested(Bytes::mib(2048))));
    assert_eq!(
        limits.wall_time,
        Some(Limit::requested(Duration::from_secs(30)))
    );
    for (memory, reason) in [
        ("lots", "not a size"),
        ("5000K", "whole number of MiB"),
        ("1M", "at least 4 MiB"),
        ("16777215T", "at most 1073741824 MiB"),
    ] {
        let error = SandboxConfig::builder("a").memory(memory).build();
        let error = error.unwrap_err().to_string();
        assert!(error.contains(reason), "{memory}: {error}");
    }
}

#[test]
fn unknown_keys_are_refused_by_serde_too() {
    let typo = r#"{"resource_limits": {"memroy_mb": 5}}"#;
    assert!(serde_json::from_str::<SandboxConfig>(typo).is_err());
}

#[test]
fn the_schema_knows_ranges_and_defaults() {
    let schema = schema();
    let memory = &schema["properties"]["resource_limits"]["properties"]["memory_mb"];
    assert_eq!(memory["minimum"], 4);
    assert_eq!(memory["default"], 4096);
    assert_eq!(schema["additionalProperties"], false);
    let profile = &schema["properties"]["safety_constraints"]["properties"]["profile"];
    assert_eq!(profile["default"], "default");
    for range in RANGES {
        let pointer = format!("/properties/{}", range.key.replace('.', "/properties/"));
        assert!(schema.pointer(&pointer).is_some(), "{}", range.key);
    }
}
