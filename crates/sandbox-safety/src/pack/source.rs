//! The embedded packs as Rust tables.

use std::fmt::Write as _;

use super::{Held, PackError, text};

/// Returns the Rust source of the table of a pack, for `cargo xtask generate`.
///
/// # Errors
///
/// When the pack cannot be read.
#[doc(hidden)]
pub fn embedded_source(file: &str, yaml: &str) -> Result<String, PackError> {
    let pack = text::read(file, yaml, &[])?;
    let mut code = format!("//! The rules of `packs/{file}`, made by `cargo xtask generate`.\n\n");
    code.push_str("use sandbox_types::Effect;\n\n");
    code.push_str("use crate::{risk::Held, rules::{Rule, When}};\n\n");
    code.push_str("pub(super) static RULES: &[Rule] = &[\n");
    for rule in &pack.rules {
        let effects = rule.effects.iter().map(|it| format!("Effect::{it:?}"));
        let effects: Vec<String> = effects.collect();
        let held = match rule.held {
            Held::Rollback => "Rollback",
            Held::View => "View",
            Held::Network => "Network",
            Held::Nothing => "Nothing",
        };
        let _written = write!(
            code,
            "    Rule {{\n        id: {:?},\n        score: {},\n        effects: &[{}],\n        \
             held: Held::{held},\n        message: {:?},\n        suggestion: {:?},\n        \
             when: When::Looks(&[\n",
            rule.id,
            rule.score,
            effects.join(", "),
            rule.why,
            rule.safer,
        );
        for pattern in &rule.when {
            let _written = writeln!(code, "            {pattern:?},");
        }
        code.push_str("        ]),\n        matches: &[],\n        spares: &[],\n    },\n");
    }
    code.push_str("];\n");
    Ok(code)
}
