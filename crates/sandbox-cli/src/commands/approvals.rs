//! `sandbox approvals`: what waits for a person, and what a person has approved for good.

use sandbox_core::{
    ApprovalRequest, ApprovalRule, ApprovalState, Overrides, Remember, RuleScope, SandboxCore,
};

use crate::{
    args::{ApprovalsArgs, ApprovalsCommand, ApproveArgs, RequestArgs},
    commands::{
        describe,
        run::{self, terminal::who},
    },
    exit_codes,
    failure::Failure,
    settings::Settings,
    ui::{self, Tone, Ui, one_line},
};

/// The widest command that is listed, unless somebody is to decide on it: then all of it is.
const COMMAND_WIDTH: usize = 80;
/// How much is shown of what a request brings along.
const CONTENT_LINES: usize = 20;
const CONTENT_WIDTH: usize = 120;

pub(crate) fn run(settings: &Settings, args: ApprovalsArgs) -> Result<u8, Failure> {
    match args.command {
        None if args.list.rules => list_rules(settings),
        None => list(settings, args.list.all),
        Some(ApprovalsCommand::List(args)) if args.rules => list_rules(settings),
        Some(ApprovalsCommand::List(args)) => list(settings, args.all),
        Some(ApprovalsCommand::Approve(args)) => approve(settings, args),
        Some(ApprovalsCommand::Deny(args)) => deny(settings, &args),
        Some(ApprovalsCommand::Forget(args)) => {
            let forgotten = settings
                .open_to_read()?
                .forget(&args.id, args.why.told(who()))?;
            told(settings.ui, &forgotten, || {
                let command = describe::command(&forgotten.operation.argv, COMMAND_WIDTH);
                format!("sandbox: forgot the approval of {command}")
            })
        }
    }
}

fn deny(settings: &Settings, args: &RequestArgs) -> Result<u8, Failure> {
    let core = settings.open_to_read()?;
    let (ui, said) = (settings.ui, |it: &ApprovalRequest| {
        format!("sandbox: denied {}", describe::short_approval(&it.id))
    });
    if let Some(id) = &args.id {
        let denied = core.deny(id, args.why.told(who()))?;
        return told(ui, &denied, || said(&denied));
    }
    let mut all = Vec::new();
    for request in core.approvals()? {
        let denied = core.deny(request.id.as_str(), args.why.told(who()))?;
        ui.note(&said(&denied));
        all.push(denied);
    }
    if ui.is_json() {
        ui::print_json(&all)?;
    } else if all.is_empty() {
        ui.note("sandbox: nothing waits for approval");
    }
    Ok(exit_codes::DONE)
}

fn list(settings: &Settings, all: bool) -> Result<u8, Failure> {
    let core: SandboxCore = settings.open_to_read()?;
    let requests = if all {
        core.all_approvals()?
    } else {
        core.approvals()?
    };
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&requests)?;
        return Ok(exit_codes::DONE);
    }
    if requests.is_empty() {
        ui.note("sandbox: nothing waits for approval");
    }
    let lines: String = requests.iter().map(|it| request(ui, it)).collect();
    ui::print(&lines)?;
    Ok(exit_codes::DONE)
}

/// Returns the lines about one request: what it is, and why somebody is asked.
fn request(ui: Ui, request: &ApprovalRequest) -> String {
    let (until, width) = match request.state {
        ApprovalState::Pending => {
            let until = format!("until {}", describe::time(&request.expires_at));
            (until, usize::MAX)
        }
        ApprovalState::Granted | ApprovalState::Denied | ApprovalState::Expired => {
            (decided(request), COMMAND_WIDTH)
        }
    };
    let times = match request.times {
        0 | 1 => String::new(),
        times => format!(" ({times} times)"),
    };
    let mut text = format!(
        "{}  {}  {until}{times}  {}\n",
        ui.tone(Tone::Strong, describe::short_approval(&request.id)),
        describe::time(&request.requested_at),
        describe::command(&request.operation.argv, width),
    );
    if request.state == ApprovalState::Pending {
        for line in brought(request) {
            let line = format!("    | {line}\n");
            text.push_str(&ui.tone(Tone::Faint, &line));
        }
        let verdict = describe::verdict(&request.verdict, |tone, text| ui.tone(tone, text));
        for line in verdict.lines() {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Says what became of a request, by whom, and why.
fn decided(request: &ApprovalRequest) -> String {
    let by = request.decision.as_ref().and_then(|it| it.by.as_ref());
    let Some(by) = by else {
        return request.state.to_string();
    };
    let reason = by.reason.as_ref();
    let reason = reason.map_or_else(String::new, |it| {
        format!(": {}", one_line(it, COMMAND_WIDTH))
    });
    format!("{} by {} ({}{reason})", request.state, by.uid, by.via)
}

/// Returns the beginning of what a request brings along: a script, or the text of a file.
fn brought(request: &ApprovalRequest) -> Vec<String> {
    let Some(content) = &request.content else {
        return Vec::new();
    };
    let all = content.lines().count();
    let shown = content.lines().take(CONTENT_LINES);
    let mut lines: Vec<_> = shown.map(|it| one_line(it, CONTENT_WIDTH)).collect();
    if all > CONTENT_LINES {
        lines.push(format!(
            "... {} more lines: --json shows all",
            all - CONTENT_LINES
        ));
    }
    lines
}

fn list_rules(settings: &Settings) -> Result<u8, Failure> {
    let rules = settings.open_to_read()?.approval_rules()?;
    let ui = settings.ui;
    if ui.is_json() {
        ui::print_json(&rules)?;
        return Ok(exit_codes::DONE);
    }
    if rules.is_empty() {
        ui.note("sandbox: no approval is remembered");
    }
    let line = |rule: &ApprovalRule| {
        format!(
            "{}  {}  {}  {}\n",
            ui.tone(Tone::Strong, describe::short_approval(&rule.id)),
            describe::time(&rule.remembered_at),
            rule.operation.type_name,
            about(rule),
        )
    };
    ui::print(&rules.iter().map(line).collect::<String>())?;
    Ok(exit_codes::DONE)
}

/// Says what a rule approves.
fn about(rule: &ApprovalRule) -> String {
    let argv = &rule.operation.argv;
    match rule.scope {
        RuleScope::Exact => describe::command(argv, COMMAND_WIDTH),
        RuleScope::Prefix { words } => {
            let beginning = argv.get(..words).unwrap_or(argv);
            format!("{} …", describe::command(beginning, COMMAND_WIDTH))
        }
        RuleScope::Findings => format!("all with only {}", rule.findings.join(", ")),
    }
}

fn approve(settings: &Settings, args: ApproveArgs) -> Result<u8, Failure> {
    let core = settings.open_with(&Overrides {
        file: args.config,
        ..Overrides::default()
    })?;
    let remember = match args.remember_prefix {
        Some(words) => Remember::Within(RuleScope::Prefix { words }),
        None if args.remember_findings => Remember::Within(RuleScope::Findings),
        None if args.remember => Remember::Always,
        None => Remember::Once,
    };
    let approved = core.grant(&args.id, remember, args.why.told(who()))?;
    let command = describe::command(&approved.operation().action.argv(), COMMAND_WIDTH);
    settings.ui.note(&format!("sandbox: approved {command}"));
    run::approved(settings.ui, &core, approved)
}

fn told(
    ui: Ui,
    document: &impl serde::Serialize,
    text: impl FnOnce() -> String,
) -> Result<u8, Failure> {
    if ui.is_json() {
        ui::print_json(document)?;
    } else {
        ui.note(&text());
    }
    Ok(exit_codes::DONE)
}
