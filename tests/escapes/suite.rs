//! Tries all cases, judges them, and prints what was blocked, what was not, and what this host cannot show.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    cases, raw,
    trial::{Attempt, Reach, Trial, Variant, is_root},
};

/// The numbers of one list, from first to last: what the table must cover.
const LISTS: [(&str, usize); 7] = [
    ("", 63),
    ("F", 20),
    ("P", 12),
    ("R", 10),
    ("N", 14),
    ("C", 8),
    ("X", 5),
];
/// Cases that are tried at the same time.
const THREADS: usize = 2;

/// Cases that are tried in a session, too, in every run: files, processes, namespaces and mounts.
const JOINED_ALWAYS: [&str; 5] = ["28", "29", "38", "45", "51"];

/// One line of the table.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Its numbers in `docs/security/escapes.md`; one attempt may be in two lists.
    pub(crate) numbers: &'static str,
    /// What stops it.
    pub(crate) layer: &'static str,
    /// What is tried.
    pub(crate) what: &'static str,
    pub(crate) run: fn(&mut Trial),
}

/// What became of a case.
struct Verdict {
    case: Case,
    attempts: Vec<Attempt>,
    unshown: Vec<String>,
    /// Operations that a session was ready for.
    joined: usize,
    /// Why it failed.
    failure: Option<String>,
    time: Duration,
}

/// Runs the cases that the arguments ask for.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|it| it == flag);
    let wanted = words_in(arguments);
    let is_wanted = |case: &Case| {
        let name = name_of(case);
        wanted.is_empty() || wanted.iter().any(|it| name.contains(*it))
    };
    let cases: Vec<Case> = cases::all().into_iter().filter(is_wanted).collect();
    if has("--list") {
        for case in &cases {
            println!("{}: test", name_of(case));
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = leave_mounts_of_host() {
        println!("cannot leave the host's mounts: {error}");
        return ExitCode::FAILURE;
    }
    let missing = uncovered();
    assert!(missing.is_empty(), "no case for {missing:?}");
    let missing = undocumented();
    assert!(
        missing.is_empty(),
        "not in docs/security/escapes.md:\n{}",
        missing.join("\n")
    );

    let is_long = has("--long");
    let is_loud = has("--progress");
    let one_shot = Variant {
        is_long,
        is_loud,
        is_joined: false,
    };
    let joined = Variant {
        is_long,
        is_loud,
        is_joined: true,
    };
    let mut is_blocked = true;
    if !has("--joined") {
        is_blocked &= judge(&cases, one_shot, has("--table"));
    }
    // The walls of a session are the same, built by the same code: a few cases show it each time, all on request.
    let all = has("--joined") || !wanted.is_empty();
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|it| all || is_joined_always(it))
        .collect();
    is_blocked &= judge(&cases, joined, has("--table"));
    if is_blocked {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether a case is tried in a session in every run.
fn is_joined_always(case: &Case) -> bool {
    numbers_of(case).any(|it| JOINED_ALWAYS.contains(&it))
}

fn judge(cases: &[Case], variant: Variant, with_table: bool) -> bool {
    let verdicts = try_all(cases, variant);
    if with_table {
        print_table(&verdicts);
    }
    print_summary(&verdicts, variant)
}

/// Returns the words that choose cases. Options of the usual test programs are passed over, with their values.
fn words_in(arguments: &[String]) -> Vec<&str> {
    const WITH_VALUE: [&str; 6] = [
        "--test-threads",
        "--skip",
        "--format",
        "--color",
        "--logfile",
        "-Z",
    ];
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            rest.next();
        } else if !argument.starts_with('-') {
            words.push(argument.as_str());
        }
    }
    words
}

/// Controls do as root what a sandbox prevents: whatever they mount is to be gone with this program. For others there
/// is nothing to do, because they cannot mount.
fn leave_mounts_of_host() -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    raw::call(libc::SYS_unshare, &[libc::CLONE_NEWNS as usize])?;
    let flags = usize::try_from(libc::MS_REC | libc::MS_PRIVATE).unwrap();
    raw::call(libc::SYS_mount, &[0, c"/".as_ptr().addr(), 0, flags, 0])?;
    Ok(())
}

/// Returns the name of a case, as a filter sees it.
fn name_of(case: &Case) -> String {
    let mut name = String::from("escapes::");
    for number in numbers_of(case) {
        let _infallible = write!(name, "case_{number}_");
    }
    name + &case.what.replace(|c: char| !c.is_alphanumeric(), "_")
}

fn numbers_of(case: &Case) -> impl Iterator<Item = &'static str> {
    case.numbers.split_whitespace()
}

/// Returns the rows that the document does not have.
fn undocumented() -> Vec<String> {
    let document = include_str!("../../docs/security/escapes.md");
    let row = |it: &Case| format!("| {} | {} | {} |", it.numbers, it.layer, it.what);
    let rows = cases::all();
    rows.iter()
        .map(row)
        .filter(|row| !document.contains(row.as_str()))
        .collect()
}

/// Returns the numbers that no case has.
fn uncovered() -> Vec<String> {
    let covered: BTreeSet<&str> = cases::all().iter().flat_map(numbers_of).collect();
    let all = LISTS
        .iter()
        .flat_map(|(list, last)| (1..=*last).map(move |number| format!("{list}{number}")));
    all.filter(|it| !covered.contains(it.as_str())).collect()
}

fn try_all(cases: &[Case], variant: Variant) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = try_case(*case, variant);
                    if variant.is_loud {
                        println!("test {} ... {}", name_of(case), verdict.says());
                    }
                    verdicts.lock().unwrap().push(verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    let place = |it: &Verdict| cases.iter().position(|case| case.what == it.case.what);
    verdicts.sort_by_key(place);
    verdicts
}

fn try_case(case: Case, variant: Variant) -> Verdict {
    let start = Instant::now();
    let mut trial = Trial::new(variant);
    let ran = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut trial)));
    let failure = match ran {
        Err(panic) => Some(words_of(panic.as_ref())),
        Ok(()) => trial.harm().or_else(|| escaped(&trial.attempts)),
    };
    let mut verdict = Verdict {
        case,
        attempts: std::mem::take(&mut trial.attempts),
        unshown: std::mem::take(&mut trial.unshown),
        joined: trial.joined.get(),
        failure,
        time: start.elapsed(),
    };
    let root = trial.lab.root().to_owned();
    drop(trial);
    if root.exists() {
        let left = || format!("left on the host: {}", root.display());
        verdict.failure.get_or_insert_with(left);
    }
    verdict
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
    text.unwrap_or_else(|| "the case panicked".to_owned())
}

fn escaped(attempts: &[Attempt]) -> Option<String> {
    let through: Vec<&str> = attempts
        .iter()
        .filter(|it| it.inside.is_through())
        .map(|it| it.what.as_str())
        .collect();
    (!through.is_empty()).then(|| format!("through inside: {}", through.join(", ")))
}

impl Verdict {
    /// Attempts whose control succeeded.
    fn shown(&self) -> usize {
        self.attempts
            .iter()
            .filter(|it| it.outside.is_through())
            .count()
    }

    fn says(&self) -> String {
        match (&self.failure, self.shown()) {
            (Some(_), _) => "FAILED".to_owned(),
            (None, 0) => "not shown".to_owned(),
            (None, shown) => format!("blocked {shown}"),
        }
    }

    /// What the attempts were told, each answer once.
    fn blocked_by(&self) -> String {
        let shown = self.attempts.iter().filter(|it| it.outside.is_through());
        let answers: BTreeSet<&str> = shown
            .filter_map(|it| match &it.inside {
                Reach::Stopped(answer) => Some(answer.as_str()),
                Reach::Through => None,
            })
            .collect();
        let mut answers: Vec<&str> = answers.into_iter().collect();
        let rest = answers.len().saturating_sub(3);
        answers.truncate(3);
        let more = if rest > 0 {
            format!(" and {rest} more")
        } else {
            String::new()
        };
        answers.join("; ") + &more
    }
}

fn print_table(verdicts: &[Verdict]) {
    println!(
        "| case | stopped by | attempt | control | inside | answer | ms |\n|---|---|---|---|---|---|---|"
    );
    for verdict in verdicts {
        let case = verdict.case;
        let control = format!("{} of {}", verdict.shown(), verdict.attempts.len());
        let answer = verdict.blocked_by().replace(['|', '\n'], " ");
        let says = verdict.says();
        let time = verdict.time.as_millis();
        println!(
            "| {} | {} | {} | {control} | {says} | {answer} | {time} |",
            case.numbers, case.layer, case.what
        );
    }
    println!();
}

fn print_summary(verdicts: &[Verdict], variant: Variant) -> bool {
    for verdict in verdicts {
        let numbers = verdict.case.numbers;
        for attempt in &verdict.attempts {
            if let Reach::Stopped(why) = &attempt.outside {
                println!(
                    "not shown here: {numbers}: {}: outside of a sandbox, too: {why}",
                    attempt.what
                );
            }
        }
        for what in &verdict.unshown {
            println!("not shown here: {numbers}: {what}");
        }
    }
    let failed: Vec<&Verdict> = verdicts.iter().filter(|it| it.failure.is_some()).collect();
    for verdict in &failed {
        let why = verdict.failure.as_deref().unwrap_or_default();
        println!(
            "FAILED: {}: {}\n    {why}",
            verdict.case.numbers, verdict.case.what
        );
    }
    let sum = |of: fn(&Verdict) -> usize| verdicts.iter().map(of).sum::<usize>();
    let numbers = |is: &dyn Fn(&Verdict) -> bool| {
        let found = verdicts.iter().filter(|it| is(it));
        found.map(|it| numbers_of(&it.case).count()).sum::<usize>()
    };
    let blocked = numbers(&|it| it.failure.is_none() && it.shown() > 0);
    let total = numbers(&|_| true);
    let unshown = numbers(&|it| it.failure.is_none() && it.shown() == 0);
    let how = if variant.is_joined {
        format!(
            " in a session ({} operations joined one)",
            sum(|it| it.joined)
        )
    } else {
        String::new()
    };
    println!(
        "escapes{how}: {blocked} of {total} cases blocked, {unshown} not shown here, {} failed; {} attempts with a \
         control that succeeds, {} without",
        failed.len(),
        sum(Verdict::shown),
        sum(|it| it.attempts.len() - it.shown() + it.unshown.len()),
    );
    failed.is_empty()
}
