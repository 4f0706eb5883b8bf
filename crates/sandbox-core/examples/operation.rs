//! A type of operations of the program's own: `{"type": "note", "title": …, "text": …}`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use sandbox_core::{
    OperationHandler, Plugins, SandboxCore,
    types::{Operation, SandboxConfig},
};
use serde_json::{Map, Value};

#[derive(Debug)]
struct Note;

impl OperationHandler for Note {
    fn type_name(&self) -> &'static str {
        "note"
    }

    fn fields(&self) -> &[&str] {
        &["title", "text"]
    }

    fn operation(&self, fields: Map<String, Value>) -> Result<Operation, String> {
        let text = |name: &str| {
            let value = fields.get(name).and_then(Value::as_str);
            value.ok_or_else(|| format!("a note has a `{name}`, which is text"))
        };
        let path = format!("notes/{}.md", text("title")?);
        Ok(Operation::file_write(path, text("text")?))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SandboxConfig::builder("operation")
        .workspace("/tmp/sandbox-example-operation")
        .build()?;
    let plugins = Plugins::new().operation(Note);
    let sandbox = SandboxCore::open_with(config, plugins).await?;
    for document in [
        r#"{"type": "note", "title": "today", "text": "it rains"}"#,
        r#"{"type": "note", "title": "today"}"#,
        r#"{"type": "note", "titel": "today"}"#,
    ] {
        match sandbox.read_operation(document, "document") {
            Ok(operation) => {
                let report = sandbox.execute(operation).await?;
                let what = report.operation.argv.join(" ");
                println!(
                    "{}: {what}: {:?}",
                    report.operation.type_name, report.outcome
                );
                sandbox.undo(report.id()).await?;
            }
            Err(error) => println!("{}", sandbox_core::types::causes(&error).join(": ")),
        }
    }
    sandbox.cleanup().await?;
    Ok(())
}
