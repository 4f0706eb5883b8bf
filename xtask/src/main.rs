//! Maintainers' tasks: `cargo xtask layers | tidy | generate | test | escapes | soak | bench | eval | differential | fuzz | crash | filesystems | state | clients | workloads | vm | ci`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: what it prints is its result"
)]

mod bench;
mod ci;
mod clients;
mod crash;
mod differential;
mod eval;
mod filesystems;
mod fuzz;
mod generate;
mod layers;
mod process;
mod reference;
mod state;
mod test;
mod tidy;
mod vm;
mod workloads;

use std::{env, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask TASK

  layers              check which crate may depend on which
  tidy                check the rules of style that no compiler knows
  generate [--check]  write config/schema and docs/reference (or check that they are current)
  test [NAME]         run all tests, as root also as an unprivileged user (only those named NAME)
  escapes [--long]    try every way out of the sandbox, and print what stopped each
  soak [COUNT]        carry out 200 operations of all kinds, with callers and keepers killed, and compare the host
  bench exec [--busy] [RUNS]
                      time `sandbox run -- true` against bubblewrap, idle or with all processors busy
  bench sessions [COUNT]
                      make 1,000 sandboxes with a session each: time, memory, latency then
  bench throughput [COUNT]
                      10,000 operations of the library, 64 at a time, against plain starts
  bench layers [RUNS] what each layer of a confinement costs, as a table
  bench egress        time the list of allowed hosts against the same client outside
  bench state         time the store against SQLite, the journal, and `sandbox status`
  bench safety [DIR]  time judging, `sandbox check`, and the content scan by the number of words
  bench scan [DIR]    time `sandbox scan` against the bare automaton and ripgrep
  bench rollback transactions
                      time commit, undo, redo, discard and the list of changes
  eval safety --corpus FILE [--half 0|1] [--misses]
                      how many labelled commands the judge flags, by category, source and group
  differential [COUNT [SEED]]
                      run random shell texts in bash and dash, and compare with what the judge makes of them
  fuzz TARGET [SECONDS]
                       feed the judge what nobody would write: parser, unwrapping, rule_packs, content
  crash [states | damage | kills [EVERY] | faults [EVERY]]
                      cut the power, flip bits, kill and let system calls fail, in transactions and snapshots
  state [NAME]        put the state through 10,000 power cuts and flipped bits, 1,000 kills, and eight processes
                      at once: crashes, flips, workers, kills, processes, copies
  bench rollback [--quick | DIR]
                      time snapshots against restic, bupstash, borg, git, tar, rsync and cp, as far as they are here:
                      of the Linux source tree (apt-get install linux-source-6.1) and a file of 2 GiB, of a small
                      tree, or of a copy of DIR
  clients             run real network clients against the list of allowed hosts, as a table
  workloads [NAME]    run real builds and test suites outside and inside, as a table with ratios
  filesystems [KIND [NAME]]
                      run the tests of transactions, snapshots and the CLI on ext4, xfs and btrfs in image files
  vm [--kernel PACKAGE] [--as root|user|delegated|logged-in] [--suite units|isolation|cli|escapes] [PROFILE [NAME...]]
                      run the tests of confinement and limits in virtual machines: cgroup2, no-userns, systemd
  ci [--full]         everything that must pass before a commit is merged (with long escapes, soak, state, file systems and virtual machines)
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(done) = task(&args) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Carries out the task that `words` name; `None` if they name none.
fn task(words: &[&str]) -> Option<anyhow::Result<()>> {
    let done = match words {
        ["layers"] => layers::check(),
        ["tidy"] => tidy::check(),
        ["generate"] => generate::write(),
        ["generate", "--check"] => generate::check(),
        ["test"] => test::all(),
        ["test", name] => test::named(name),
        ["escapes"] => test::escapes(false),
        ["escapes", "--long"] => test::escapes(true),
        ["soak"] => test::soak(test::SOAK_OPERATIONS),
        ["soak", count] => test::soak(count.parse().ok()?),
        ["bench", words @ ..] => return bench_task(words),
        ["vm", words @ ..] => vm::run(&vm::Wanted::parse(words)?),
        ["workloads"] => workloads::run(""),
        ["workloads", name] => workloads::run(name),
        ["eval", "safety", words @ ..] => eval::safety(&eval::Wanted::parse(words)?),
        ["differential"] => {
            differential::run(differential::TEXTS_DEFAULT, differential::SEED_DEFAULT)
        }
        ["differential", count] => {
            differential::run(count.parse().ok()?, differential::SEED_DEFAULT)
        }
        ["differential", count, seed] => differential::run(count.parse().ok()?, seed.parse().ok()?),
        ["fuzz", target] => fuzz::run(target, fuzz::SECONDS_DEFAULT),
        ["fuzz", target, seconds] => fuzz::run(target, seconds.parse().ok()?),
        ["crash", words @ ..] => return crash_task(words),
        ["filesystems"] => filesystems::run(None, None),
        ["filesystems", kind] => filesystems::run(Some(kind), None),
        ["filesystems", kind, name] => filesystems::run(Some(kind), Some(name)),
        ["state"] => state::run(None),
        ["state", name] => state::run(Some(name)),
        ["clients"] => clients::run(),
        ["ci"] => ci::run(),
        ["ci", "--full"] => ci::full(),
        _ => return None,
    };
    Some(done)
}

fn bench_task(words: &[&str]) -> Option<anyhow::Result<()>> {
    let done = match words {
        ["exec", words @ ..] => {
            let (runs, load) = exec_wanted(words)?;
            bench::exec(runs, load)
        }
        ["sessions"] => bench::sessions(bench::SANDBOXES),
        ["sessions", count] => bench::sessions(count),
        ["throughput"] => bench::throughput(bench::OPERATIONS),
        ["throughput", count] => bench::throughput(count),
        ["layers"] => bench::layers(bench::ROUNDS),
        ["layers", runs] => bench::layers(runs),
        ["egress"] => bench::egress(),
        ["state"] => bench::state(),
        ["safety"] => bench::safety("/usr/share/doc"),
        ["safety", directory] => bench::safety(directory),
        ["scan"] => bench::scan("/usr/share/doc"),
        ["scan", directory] => bench::scan(directory),
        ["rollback", "transactions"] => bench::transactions(),
        ["rollback"] => bench::rollback(None),
        ["rollback", which] if *which == "--quick" || !which.starts_with('-') => {
            bench::rollback(Some(which))
        }
        _ => return None,
    };
    Some(done)
}

fn crash_task(words: &[&str]) -> Option<anyhow::Result<()>> {
    let every = |count: &str| count.parse().ok().filter(|every| *every > 0);
    let done = match words {
        [] => crash::all(),
        ["states"] => crash::states(),
        ["damage"] => crash::damage(),
        ["kills"] => crash::kills(1),
        ["kills", count] => crash::kills(every(count)?),
        ["faults"] => crash::faults(1),
        ["faults", count] => crash::faults(every(count)?),
        _ => return None,
    };
    Some(done)
}

fn exec_wanted(words: &[&str]) -> Option<(usize, bench::Load)> {
    let (words, load) = match words {
        ["--busy", rest @ ..] => (rest, bench::Load::Full),
        _ => (words, bench::Load::None),
    };
    match words {
        [] => Some((bench::RUNS_DEFAULT, load)),
        [runs] => Some((runs.parse().ok()?, load)),
        _ => None,
    }
}
