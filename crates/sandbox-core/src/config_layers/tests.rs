//! The customer's file, the documented defaults, the bad files, and which layer wins.

use std::fs;

use expect_test::{Expect, expect, expect_file};
use sandbox_types::causes;

use super::{shape::Shape, *};

const CUSTOMER: &str = r#"sandbox_id: "my-sandbox"
workspace_path: "/tmp/sandbox-workspace"
resource_limits: {memory_mb: 1024, cpu_percent: 50, disk_mb: 2048}
safety_constraints: {max_snapshots: 10, compress_snapshots: true, network: {allow_external: false}}
monitoring_config: {collection_interval: 30, health_check_interval: 60, resource_thresholds: {cpu_percent: 80, memory_percent: 80}}
"#;

fn config_directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config"))
}

/// Files of a test, gone when it ends.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Returns the error with its causes, without the directory's random name.
    fn in_words(&self, error: &dyn std::error::Error) -> String {
        let directory = format!("{}/", self.0.path().display());
        causes(error).join("\n").replace(&directory, "")
    }
}

fn load_text(text: &str) -> Effective {
    let files = Files::new();
    load_file(&files.file("config.yaml", text)).unwrap()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

#[test]
fn the_customers_file_loads_unchanged() {
    let effective = load_text(CUSTOMER);
    let config = &effective.config;
    assert_eq!(config.sandbox_id.as_deref(), Some("my-sandbox"));
    assert_eq!(config.resource_limits.memory_mb, Some(1024));
    assert_eq!(config.safety_constraints.compress_snapshots, Some(true));
    assert_eq!(
        config.monitoring_config.resource_thresholds.memory_percent,
        Some(80)
    );
    assert_eq!(effective.origins.len(), 12);
}

#[test]
fn nothing_configured_is_the_built_in_configuration() {
    let effective = load(&Layers::default()).unwrap();
    assert_eq!(effective.config, SandboxConfig::default());
    let built_in = serde_json::to_value(SandboxConfig::built_in()).unwrap();
    let mut expected = BTreeMap::new();
    flatten(&built_in, "", &mut expected);
    for entry in effective.entries() {
        assert_eq!(entry.origin, Origin::Default);
        assert_eq!(
            expected.remove(&entry.key),
            Some(entry.value),
            "{}",
            entry.key
        );
    }
    assert!(expected.is_empty());
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["{}", " {}\n", "", "# nothing\n{}"] {
        let effective = load_text(text);
        assert_eq!(effective.config, SandboxConfig::default(), "{text:?}");
        assert!(effective.origins.is_empty(), "{text:?}");
    }
}

#[test]
fn the_default_file_has_every_key_with_its_default() {
    let path = config_directory().join("default.yaml");
    let effective = load_file(&path).unwrap();
    assert_eq!(effective.config, SandboxConfig::built_in());

    let tree = yaml::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut keys = Vec::new();
    collect_schema_keys(&schema(), "", &mut keys);
    assert!(keys.len() > 25, "{keys:?}");
    for key in keys {
        assert!(
            tree.find(&key).is_some(),
            "{key} is not in config/default.yaml"
        );
    }
}

fn collect_schema_keys(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let key = join(path, key);
        collect_schema_keys(below, &key, into);
        into.push(key);
    }
}

#[test]
fn the_shape_is_the_schema() {
    assert_shape(shape::CONFIG, &schema(), "");
}

fn assert_shape(shape: Shape, schema: &Value, path: &str) {
    let type_name = match shape {
        Shape::Section(keys) => {
            let properties = schema["properties"].as_object().unwrap();
            assert_eq!(keys.len(), properties.len(), "keys of `{path}`");
            for (key, below) in keys {
                assert_shape(*below, &properties[*key], &join(path, key));
            }
            "object"
        }
        Shape::Choice(names) => {
            for name in names {
                assert!(
                    schema
                        .to_string()
                        .contains(&format!("\"const\":\"{name}\"")),
                    "{name}"
                );
            }
            assert_eq!(schema.to_string().matches("\"const\"").count(), names.len());
            return;
        }
        Shape::Integer => "integer",
        Shape::Boolean => "boolean",
        Shape::Text => "string",
        Shape::Texts => "array",
        Shape::TextsByName => "object",
    };
    let types = &schema["type"];
    let optional = serde_json::json!([type_name, "null"]);
    assert!(
        *types == type_name || *types == optional,
        "`{path}` is {types}, not {type_name}"
    );
}

#[test]
fn bad_files_are_refused_with_place_and_reason() {
    let directory = config_directory().join("invalid");
    let mut names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 12);
    let mut messages = String::new();
    for name in names {
        let error = load_file(&directory.join(&name)).unwrap_err();
        let said = causes(&error).join("\n  ");
        let said = said.replace(&format!("{}/", directory.display()), "");
        messages.extend([said.as_str(), "\n\n"]);
    }
    expect_file![directory.join("messages.txt")].assert_eq(&messages);
}

#[test]
fn a_later_layer_wins_and_says_so() {
    let files = Files::new();
    let memory = |mb: i64| format!("resource_limits: {{memory_mb: {mb}, processes: {mb}}}\n");
    let mut layers = Layers {
        system: Some(files.file("system.yaml", &memory(100))),
        ..Layers::default()
    };
    let check = |layers: &Layers, expected: i64, origin: &str| {
        let effective = load(layers).unwrap();
        assert_eq!(effective.config.resource_limits.memory_mb, Some(expected));
        let said = effective.origin("resource_limits.memory_mb").to_string();
        assert!(said.ends_with(origin), "{said}");
    };
    check(&layers, 100, "system.yaml:1:30");
    layers.user = Some(files.file("user.yaml", &memory(200)));
    check(&layers, 200, "user.yaml:1:30");
    layers.sandbox = Some(files.file("sandbox.yaml", &format!("# ours\n{}", memory(300))));
    check(&layers, 300, "sandbox.yaml:2:30");
    layers.explicit = Some(files.file("explicit.yaml", &memory(400)));
    check(&layers, 400, "explicit.yaml:1:30");
    let name = "SANDBOX_RESOURCE_LIMITS__MEMORY_MB";
    layers.environment = variables(&[(name, "500")]);
    check(&layers, 500, name);
    layers.flags.resource_limits.memory_mb = Some(600);
    check(&layers, 600, "the command line");

    let effective = load(&layers).unwrap();
    assert_eq!(effective.config.resource_limits.processes, Some(400));
    let entry = effective.entries();
    let disk = entry.iter().find(|it| it.key == "resource_limits.disk_mb");
    assert_eq!(disk.unwrap().origin, Origin::Default);
}

#[test]
fn lists_add_up_and_null_goes_back_to_the_default() {
    let files = Files::new();
    let system =
        "isolation: {hide: [/a], env_set: {A: a, B: b}}\nresource_limits: {memory_mb: 64}\n";
    let user = "isolation: {hide: [/b], read:, env_set: {B: c}}\nresource_limits: {memory_mb: null}\nmonitoring_config:\n";
    let effective = load(&Layers {
        system: Some(files.file("system.yaml", system)),
        user: Some(files.file("user.yaml", user)),
        environment: variables(&[("SANDBOX_ISOLATION__ENV_SET__My__Var", "x")]),
        ..Layers::default()
    })
    .unwrap();
    let isolation = &effective.config.isolation;
    assert_eq!(isolation.hide, [Path::new("/a"), Path::new("/b")]);
    let set: Vec<(&str, &str)> = isolation
        .env_set
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(set, [("A", "a"), ("B", "c"), ("My__Var", "x")]);
    assert_eq!(effective.config.resource_limits.memory_mb, None);
    assert_eq!(
        effective.origin("resource_limits.memory_mb"),
        &Origin::Default
    );
}

#[test]
fn a_file_that_must_be_there_is_missed() {
    let files = Files::new();
    let missing = files.0.path().join("missing.yaml");
    load(&Layers {
        system: Some(missing.clone()),
        user: Some(missing.clone()),
        ..Layers::default()
    })
    .unwrap();
    let error = load_file(&missing).unwrap_err();
    expect![[r"
        cannot read the configuration file missing.yaml
        No such file or directory (os error 2)"]]
    .assert_eq(&files.in_words(&error));
    assert!(matches!(
        load_file(files.0.path()),
        Err(ConfigLoadError::Read { .. })
    ));
    assert!(matches!(
        load_file(Path::new("/dev/zero")),
        Err(ConfigLoadError::Read { .. })
    ));
}

#[track_caller]
fn check_variables(pairs: &[(&str, &str)], expected: Expect) {
    let loaded = load(&Layers {
        environment: variables(pairs),
        ..Layers::default()
    });
    let said = match loaded {
        Ok(effective) => serde_json::to_string(&effective.config).unwrap(),
        Err(error) => causes(&error).join("\n"),
    };
    expected.assert_eq(&said);
}

#[test]
fn variables_are_keys() {
    check_variables(
        &[
            ("SANDBOX_HOME", "/x"),
            ("SANDBOX_NAME", "x"),
            ("SANDBOX_STATE_KEY", "x"),
            ("SANDBOX_TEST_REQUIRE", "all"),
            ("SANDBOX_ON", "1"),
            ("PATH", "/bin"),
            ("SANDBOX_SANDBOX_ID", "7"),
            (
                "SANDBOX_SAFETY_CONSTRAINTS__NETWORK__ALLOW_EXTERNAL",
                "true",
            ),
            ("SANDBOX_SAFETY_CONSTRAINTS__PROFILE", "strict"),
            ("SANDBOX_ISOLATION__READ", "[/a, /b]"),
            ("SANDBOX_MONITORING_CONFIG", "{collection_interval: 5}"),
        ],
        expect![[
            r#"{"sandbox_id":"7","safety_constraints":{"profile":"strict","network":{"allow_external":true}},"monitoring_config":{"collection_interval":5},"isolation":{"read":["/a","/b"]}}"#
        ]],
    );
    check_variables(
        &[("SANDBOX_RESOURCE_LIMITS__MEMORY_MB", "1G")],
        expect![
            "cannot read `resource_limits.memory_mb` in the environment variable SANDBOX_RESOURCE_LIMITS__MEMORY_MB: expected a whole number, found the text '1G'"
        ],
    );
    check_variables(
        &[("SANDBOX_RESOURCE_LIMITS__MEMORY_MB", "-1")],
        expect![[r"
        cannot use a value in the environment variable SANDBOX_RESOURCE_LIMITS__MEMORY_MB
        cannot use -1 for `resource_limits.memory_mb`: must be at least 4 MiB (no program starts with less)"]],
    );
    check_variables(
        &[("SANDBOX_RESOURCE_LIMITS__MEMROY_MB", "5")],
        expect![
            "cannot accept the unknown key `resource_limits.memroy_mb` in the environment variable SANDBOX_RESOURCE_LIMITS__MEMROY_MB; did you mean `memory_mb`?"
        ],
    );
    check_variables(
        &[("SANDBOX_RESOURCE_LIMIT__MEMORY_MB", "5")],
        expect![
            "cannot accept the unknown key `resource_limit` in the environment variable SANDBOX_RESOURCE_LIMIT__MEMORY_MB; did you mean `resource_limits`?"
        ],
    );
    check_variables(
        &[("SANDBOX_ISOLATION__READ", "/a")],
        expect![
            "cannot read `isolation.read` in the environment variable SANDBOX_ISOLATION__READ: expected a list of texts, as in [a, b], found the text '/a'"
        ],
    );
    check_variables(
        &[("SANDBOX_ISOLATION__READ", "[")],
        expect![
            "cannot read the environment variable SANDBOX_ISOLATION__READ: unclosed bracket '['"
        ],
    );
    check_variables(&[("SANDBOX_RESOURCE_LIMITS", "")], expect!["{}"]);
}

#[test]
fn flags_are_checked_too() {
    let mut layers = Layers::default();
    layers.flags.resource_limits.wall_time = Some("0s".to_owned());
    let error = load(&layers).unwrap_err();
    expect![[r"
        cannot use a value on the command line
        cannot use '0s' for `resource_limits.wall_time`: must be longer than nothing, as in 30s"]]
    .assert_eq(&causes(&error).join("\n"));
}

#[test]
fn operations_are_json_or_yaml() {
    let json = r#"{"type": "command", "id": "a", "command": "ls", "timeout": "30s"}"#;
    let yaml = "type: command\nid: a\ncommand: ls\ntimeout: 30s\n";
    let from_json = operation_from_text(json, "op.json").unwrap();
    assert_eq!(operation_from_text(yaml, "op.yaml").unwrap(), from_json);

    let check = |text: &str, expected: Expect| {
        let error = operation_from_text(text, "op").unwrap_err();
        expected.assert_eq(&causes(&error).join("\n"));
    };
    check(
        "{\n  \"type\": \"command\",\n",
        expect!["cannot read op:1:1: unclosed bracket '{'"],
    );
    check(
        "type: command\ncommand: [ls\n",
        expect!["cannot read op:2:10: unclosed bracket '['"],
    );
    check(
        "{\n  \"type\": \"command\",\n  \"comand\": \"ls\"\n}",
        expect![[r"
        cannot accept the operation at op:3:13
        cannot accept the unknown field `comand`; did you mean `command`?"]],
    );
    check(
        "type: command\ncommand: ls\nlimits:\n  memory_mb: 0\n",
        expect![[r"
            cannot accept the operation at op:4:14
            cannot use 0 for `limits.memory_mb`: must be at least 4 MiB (no program starts with less)"]],
    );
    check(
        "type: command\nargs: [ls, 3]\n",
        expect![[r"
        cannot accept the operation at op:2:12
        cannot read `args[1]`: expected text, found 3"]],
    );
    check(
        "type: explode\npath: a\n",
        expect![[r"
            cannot accept the operation at op:1:7
            cannot run an operation of type `explode`; there are `command`, `file_operation`, `shell`, `script`, `file_write`, `file_delete`, `file_move`"]],
    );
    check(
        "command: ls\n",
        expect![[r"
        cannot accept the operation at op:1:1
        cannot read an operation without the field `type`"]],
    );
    check(
        "",
        expect![[r"
        cannot accept the operation at op:1:1
        cannot read `.`: expected an object, found null"]],
    );
}
