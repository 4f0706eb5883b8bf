//! The JSON Schema of the configuration, for editors and for our own loader.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{RANGES, SandboxConfig};

/// Returns the JSON Schema (draft 2020-12) of [`SandboxConfig`], with ranges and defaults.
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let generator = settings.into_generator();
    let mut schema = generator.into_root_schema_for::<SandboxConfig>().to_value();
    drop_empty_defaults(&mut schema);
    for range in RANGES {
        set(&mut schema, range.key, "minimum", json!(range.min));
        set(&mut schema, range.key, "maximum", json!(range.max));
    }
    let built_in = serde_json::to_value(SandboxConfig::built_in()).unwrap_or_default();
    set_defaults(&mut schema, &built_in);
    schema
}

/// Removes what `#[serde(default)]` gives every key (`null` and empty sections): not what holds.
fn drop_empty_defaults(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    node.remove("default");
    let properties = node.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|it| it.values_mut()) {
        drop_empty_defaults(property);
    }
}

fn set(schema: &mut Value, key: &str, keyword: &str, value: Value) {
    let pointer: String = key
        .split('.')
        .flat_map(|part| ["/properties/", part])
        .collect();
    if let Some(node) = schema.pointer_mut(&pointer) {
        node[keyword] = value;
    }
}

fn set_defaults(schema: &mut Value, built_in: &Value) {
    let Some(values) = built_in.as_object() else {
        schema["default"] = built_in.clone();
        return;
    };
    for (key, value) in values {
        if let Some(property) = schema.pointer_mut(&format!("/properties/{key}")) {
            set_defaults(property, value);
        }
    }
}
