//! The command line `sandbox`: reads what was typed, calls the library, prints what it says.
//!
//! Nothing is decided here that a program using the library could not decide as well. Start reading
//! with `commands/run.rs`.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod exit_codes;
mod failure;
mod habits;
mod settings;
mod ui;

use std::process::ExitCode;

use args::{AuditCommand, Command, ConfigCommand, PolicyCommand};
use settings::Settings;

fn main() -> ExitCode {
    if let Some(ended) = commands::session::keep() {
        return ended;
    }
    let typed = match args::parse() {
        Ok(typed) => typed,
        Err(unusable) => return ui::usage(&unusable),
    };
    let place = exit_codes::Place::of(&typed.command);
    let settings = Settings::new(typed.global);
    #[cfg(linked_statically)]
    sandbox_core::look_names_up_without_plugins();
    let ended = match typed.command {
        Command::Run(args) => commands::run::run(&settings, *args),
        Command::Check(args) => commands::check::run(&settings, &args),
        Command::Scan(args) => commands::scan::run(&settings, args),
        Command::Log(args) => commands::log::run(&settings, &args),
        Command::Show(args) => commands::show::run(&settings, &args),
        Command::Ps => commands::ps::run(&settings),
        Command::Logs(args) => commands::logs::run(&settings, &args),
        Command::Wait(args) => commands::wait::run(&settings, &args),
        Command::Kill(args) => commands::kill::run(&settings, &args),
        Command::Diff(args) => commands::diff::run(&settings, &args),
        Command::Commit(args) => commands::review::commit(&settings, args),
        Command::Discard(args) => commands::review::discard(&settings, args),
        Command::Undo(args) => commands::undo::run(&settings, args),
        Command::Redo(args) => commands::undo::redo(&settings, args),
        Command::Snapshot(command) => commands::snapshot::run(&settings, command),
        Command::Rollback(args) => commands::rollback::run(&settings, args),
        Command::Approvals(args) => commands::approvals::run(&settings, args),
        Command::Create(args) => commands::create::run(&settings, args),
        Command::List => commands::list::run(&settings),
        Command::Status => commands::status::run(&settings),
        Command::Suspend => commands::suspend::suspend(&settings),
        Command::Resume => commands::suspend::resume(&settings),
        Command::Events(args) => commands::events::run(&settings, &args),
        Command::Destroy(args) => commands::destroy::run(&settings, &args),
        Command::Config(ConfigCommand::Show(args)) => commands::config::show(&settings, args),
        Command::Config(ConfigCommand::Validate { file }) => {
            commands::config::validate(&settings, &file)
        }
        Command::Config(ConfigCommand::Schema) => commands::config::schema(),
        Command::Config(ConfigCommand::Init(args)) => commands::config::init(&settings, &args),
        Command::Policy(PolicyCommand::Validate { file }) => {
            commands::policy::validate(&settings, &file)
        }
        Command::Policy(PolicyCommand::Test(args)) => commands::policy::test(&settings, &args),
        Command::Doctor(args) => commands::doctor::run(&settings, &args),
        Command::Audit(AuditCommand::Verify(args)) => commands::audit::verify(&settings, &args),
        Command::Audit(AuditCommand::Export { file }) => {
            commands::audit::export(&settings, file.as_deref())
        }
        Command::Audit(AuditCommand::Show(args)) => commands::audit::show(&settings, &args),
        Command::State(command) => commands::state::run(&settings, command),
        Command::Stats(args) => commands::stats::run(&settings, &args),
        Command::Top(args) => commands::top::run(&settings, &args),
        Command::Health(args) => commands::health::run(&settings, &args),
        Command::Metrics => commands::metrics::run(&settings),
        Command::Supervise => commands::run::supervise(&settings),
        Command::Demo => commands::demo::run(&settings),
        Command::Completions { shell } => commands::packaging::completions(shell),
        Command::Man(args) => commands::packaging::man(&settings, &args),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            settings.ui.failure(&failure);
            ExitCode::from(exit_codes::of_failure(failure.kind, place))
        }
    }
}
