//! The reference pages: of the configuration, made from its JSON Schema, and of the content rules.

use sandbox_safety::LooksIn;
use serde_json::Value;

const HEAD: &str = "\
# Configuration

Generated from the code by `cargo xtask generate`.
`config/default.yaml` has the same keys as a file to copy from.
Files, environment and flags are layered in this order, a later one wins: built-in defaults, \
`/etc/sandbox/config.yaml`, the user's `sandbox/config.yaml` below `$XDG_CONFIG_HOME`, \
the sandbox's own, `--config FILE`, `SANDBOX_*` variables, flags.

| key | takes | built in | meaning |
|---|---|---|---|
";

/// Returns the page.
pub(crate) fn configuration(schema: &Value) -> String {
    let mut rows = Vec::new();
    collect_rows(schema, "", &mut rows);
    format!("{HEAD}{}\n", rows.join("\n"))
}

fn collect_rows(schema: &Value, path: &str, rows: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let key = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if property.get("properties").is_some() {
            collect_rows(property, &key, rows);
            continue;
        }
        let built_in = match property.get("default") {
            Some(value) => format!("`{value}`"),
            None => String::new(),
        };
        let meaning = property["description"].as_str().unwrap_or_default();
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        rows.push(format!(
            "| `{key}` | {} | {built_in} | {meaning} |",
            takes(property)
        ));
    }
}

fn takes(property: &Value) -> String {
    let mut choices = Vec::new();
    collect_choices(property, &mut choices);
    if !choices.is_empty() {
        return choices.join(", ");
    }
    let names = property["type"].as_array();
    let name = names.map_or(&property["type"], |it| &it[0]);
    let name = name.as_str().unwrap_or_default();
    match (&property["minimum"], &property["maximum"]) {
        (Value::Number(min), Value::Number(max)) => format!("{min} to {max}"),
        _ => match name {
            "array" => "list of texts",
            "object" => "texts by name",
            "string" => "text",
            "boolean" => "`true`, `false`",
            other => other,
        }
        .to_owned(),
    }
}

fn collect_choices(schema: &Value, into: &mut Vec<String>) {
    into.extend(schema["const"].as_str().map(|it| format!("`{it}`")));
    for list in ["anyOf", "oneOf"] {
        for inner in schema[list].as_array().into_iter().flatten() {
            collect_choices(inner, into);
        }
    }
}

const CONTENT_RULES_HEAD: &str = "\
# Content rules

Generated from the code by `cargo xtask generate`.
These are the rules of `sandbox scan` and of the scan of what an operation writes; \
[the guide](../guide/content.md) tells how to use them.
A rule that looks in code leaves documentation alone: files for people may show what a script must not do.

| rule | severity | looks in | a file that it finds … | what to do |
|---|---|---|---|---|
";

/// Returns the page of the content rules.
pub(crate) fn content_rules() -> String {
    let rows = sandbox_safety::content_rules().map(|rule| {
        let looks_in = match rule.looks_in {
            LooksIn::Everything => "everything",
            LooksIn::Text => "text",
            LooksIn::Code => "code",
            LooksIn::Name => "name and type",
        };
        let (message, suggestion) = (rule.message, rule.suggestion);
        format!(
            "| `{}` | {} | {looks_in} | {message} | {suggestion} |\n",
            rule.id, rule.severity
        )
    });
    format!("{CONTENT_RULES_HEAD}{}", rows.collect::<String>())
}
