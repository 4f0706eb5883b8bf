//! What an embedding program adds: rules, types of operations, health checks, handlers, approvers.
//!
//! A plugin runs in this process and is trusted as the program is. It may be slow or panic: every
//! call is made before a transaction begins or on a thread of its own, and a panic is caught, so
//! that an operation is settled and recorded all the same.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use sandbox_monitor::HealthCheck;
use sandbox_safety::Validator;
use sandbox_types::{ForeignType, Operation, Verdict};
use serde_json::{Map, Value};

use crate::{caller::Answer, event::EventHandler};

/// A type of operations that a program adds: it turns documents of that type into operations, which
/// the pipeline judges, confines, settles and reports as any other.
pub trait OperationHandler: fmt::Debug + Send + Sync {
    /// Returns the `type` of its documents: the same at every call, and no other handler's.
    fn type_name(&self) -> &str;

    /// Returns the fields that its documents have besides `type`, `id`, `env`, `files`, `timeout`,
    /// `limits`, `network` and `on_failure`, which mean the same in all documents. Any other field is
    /// an error before [`operation`](Self::operation) is called.
    fn fields(&self) -> &[&str];

    /// Returns the operation that its own fields describe.
    ///
    /// # Errors
    ///
    /// Fails, with the reason in words, when they describe none. A panic is a failure too.
    fn operation(&self, fields: Map<String, Value>) -> Result<Operation, String>;
}

/// Answers for a person when the judge asks and the caller leaves it to others: a chat, a ticket, a
/// policy of its own.
pub trait Approver: fmt::Debug + Send + Sync {
    /// Returns its name, for the journal.
    fn name(&self) -> &str;

    /// Returns its answer. [`Answer::Later`] leaves it to the next approver, and after the last one
    /// the request is stored; a panic counts as that.
    ///
    /// What remains inside the confinement is `verdict.residual_risk`. It may take its time: the
    /// operation waits, and nothing has begun. It is not interrupted when the caller gives up.
    fn answer(&self, operation: &Operation, verdict: &Verdict) -> Answer;

    /// Returns why it has just answered so, for the journal. By default it does not say.
    fn reason(&self, operation: &Operation, verdict: &Verdict) -> Option<String> {
        let (_, _) = (operation, verdict);
        None
    }
}

/// What an embedding program adds. Give it to [`crate::SandboxCore::open_with`] or
/// [`crate::Home::with_plugins`].
#[derive(Clone, Debug, Default)]
pub struct Plugins {
    validators: Vec<Arc<dyn Validator>>,
    operations: Vec<Arc<dyn OperationHandler>>,
    health_checks: Vec<Arc<dyn HealthCheck>>,
    event_handlers: Vec<Arc<dyn EventHandler>>,
    approvers: Vec<Arc<dyn Approver>>,
}

/// A plugin cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// Two have the same name, or it is that of a built-in type.
    #[error("cannot add the operation type '{name}': there is one of that name")]
    TypeTaken {
        /// The name.
        name: String,
    },
    /// It has no name.
    #[error("cannot add an operation type without a name")]
    Nameless,
}

impl Plugins {
    /// Returns no plugins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule of the program's own.
    #[must_use]
    pub fn validator(mut self, validator: impl Validator + 'static) -> Self {
        self.validators.push(Arc::new(validator));
        self
    }

    /// Adds a type of operations.
    #[must_use]
    pub fn operation(mut self, operation: impl OperationHandler + 'static) -> Self {
        self.operations.push(Arc::new(operation));
        self
    }

    /// Adds a health check.
    #[must_use]
    pub fn health_check(mut self, check: impl HealthCheck + 'static) -> Self {
        self.health_checks.push(Arc::new(check));
        self
    }

    /// Adds a handler that hears what this process does in the sandbox.
    #[must_use]
    pub fn event_handler(mut self, handler: impl EventHandler) -> Self {
        self.event_handlers.push(Arc::new(handler));
        self
    }

    /// Adds somebody who answers when the judge asks. They are asked in the order in which they are
    /// added.
    #[must_use]
    pub fn approver(mut self, approver: impl Approver + 'static) -> Self {
        self.approvers.push(Arc::new(approver));
        self
    }

    /// Returns the health checks.
    pub fn health_checks(&self) -> &[Arc<dyn HealthCheck>] {
        &self.health_checks
    }

    pub(crate) fn validators(&self) -> Vec<Arc<dyn Validator>> {
        self.validators.clone()
    }

    pub(crate) fn event_handlers(&self) -> &[Arc<dyn EventHandler>] {
        &self.event_handlers
    }

    pub(crate) fn approvers(&self) -> &[Arc<dyn Approver>] {
        &self.approvers
    }

    /// Refuses types of operations that cannot be told apart.
    pub(crate) fn check(&self) -> Result<(), PluginError> {
        let mut known: Vec<&str> = sandbox_types::operation_file::type_names().collect();
        for operation in &self.operations {
            let name = operation.type_name();
            if name.is_empty() {
                return Err(PluginError::Nameless);
            }
            if known.contains(&name) {
                return Err(PluginError::TypeTaken {
                    name: name.to_owned(),
                });
            }
            known.push(name);
        }
        Ok(())
    }

    /// Returns the names of the types of operations that are added.
    pub(crate) fn type_names(&self) -> Vec<&str> {
        self.operations.iter().map(|it| it.type_name()).collect()
    }

    /// Calls `read` with the types of operations that are added.
    pub(crate) fn with_types<T>(&self, read: impl FnOnce(&[ForeignType<'_>]) -> T) -> T {
        type Reader<'a> = Box<dyn Fn(Map<String, Value>) -> Result<Operation, String> + 'a>;
        let readers: Vec<Reader<'_>> = self
            .operations
            .iter()
            .map(|handler| -> Reader<'_> {
                Box::new(move |fields| {
                    catch_unwind(AssertUnwindSafe(|| handler.operation(fields)))
                        .unwrap_or_else(|_panic| Err("its plugin panicked".to_owned()))
                })
            })
            .collect();
        let types: Vec<ForeignType<'_>> = self
            .operations
            .iter()
            .zip(&readers)
            .map(|(handler, read)| ForeignType {
                name: handler.type_name(),
                fields: handler.fields(),
                read,
            })
            .collect();
        read(&types)
    }
}
