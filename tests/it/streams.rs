//! Standard streams that are slow, endless or closed.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::lab::Lab;

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for the end of the program; whoever waits longer has found a mistake.
#[track_caller]
fn code_of(mut program: Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = program.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > PATIENCE {
            program.kill().unwrap();
            program.wait().unwrap();
            panic!("it did not end");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn interrupt(program: &Child) {
    let pid = program.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ctrl_c_does_not_wait_for_who_reads_our_output() {
    let lab = Lab::new();
    lab.sandbox(&["create", "box"]).code(0);
    // Both streams in one pipe, as in `2>&1 | less`, and then apart.
    for together in [true, false] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = lab.command(&["run", "--", "yes"]);
        if together {
            command.stderr(writer.try_clone().unwrap());
        } else {
            command.stderr(Stdio::null());
        }
        let run = command.stdout(writer).spawn().unwrap();
        drop(command);
        // It runs, and then nobody reads any more.
        let mut some = [0; 8 * 1024];
        reader.read_exact(&mut some).unwrap();
        interrupt(&run);
        assert_eq!(code_of(run), Some(130));
        let log = lab.sandbox(&["log", "-n", "1", "--json"]).json();
        assert_eq!(log[0]["report"]["outcome"], "cancelled");
        drop(reader);
    }
}

/// Starts `sandbox run` of a script, and returns it once the script has said `ready`.
fn ready(lab: &Lab, script: &str) -> Child {
    let mut run = lab
        .command(&["run", "-q", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    run.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready\n");
    run
}

#[test]
fn ctrl_c_reaches_the_command_which_may_clean_up() {
    let lab = Lab::new();
    let script = "trap 'echo caught; echo x > cleaned; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let mut run = ready(&lab, script);
    interrupt(&run);
    let mut rest = String::new();
    run.stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert_eq!(rest, "caught\n");
    assert_eq!(code_of(run), Some(130));
    assert_eq!(lab.read("cleaned").as_deref(), Some("x\n"));
    let log = lab.sandbox(&["log", "-n", "1", "--json"]).json();
    assert_eq!(log[0]["report"]["outcome"], "cancelled");
}

#[test]
fn a_second_ctrl_c_waits_for_nothing() {
    let lab = Lab::new();
    // On a machine that has much to do, once in five times.
    let is_soon = (0..5).any(|_| {
        let run = ready(&lab, "trap '' INT; echo ready; sleep 100");
        interrupt(&run);
        std::thread::park_timeout(Duration::from_millis(300));
        let before = Instant::now();
        interrupt(&run);
        assert_eq!(code_of(run), Some(130));
        before.elapsed() < Duration::from_secs(4)
    });
    assert!(is_soon, "it had its five seconds each time");
}

#[test]
fn who_ignores_ctrl_c_ends_all_the_same() {
    let lab = Lab::new();
    let run = ready(&lab, "trap '' INT; echo ready; sleep 100");
    interrupt(&run);
    assert_eq!(code_of(run), Some(130));
}

#[test]
fn limits_hold_while_nobody_reads_our_output() {
    let lab = Lab::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = lab.command(&["run", "-q", "--timeout", "1s", "--", "yes"]);
    let run = command.stdout(writer).spawn().unwrap();
    drop(command);
    let pid = run.id();
    let ended = || {
        let log = lab.sandbox(&["log", "-n", "1", "--json"]).json();
        log[0]["report"]["outcome"] == "timed_out"
    };
    let started = Instant::now();
    while !ended() {
        assert!(started.elapsed() < PATIENCE, "{pid} goes on");
    }
    // The rest is there for who reads late, and whole.
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(code_of(run), Some(124));
    assert!(rest.len() > 64 * 1024);
    assert!(rest.chunks(2).all(|line| line == b"y\n"));
}

#[test]
fn much_output_arrives_whole_and_in_order() {
    let lab = Lab::new();
    let ended = lab.sandbox(&["run", "-q", "--shell", "seq 1 600000; echo end >&2"]);
    ended.code(0).says("end");
    let numbers = (1..=600_000).map(|number| format!("{number}\n"));
    assert!(ended.stdout == numbers.collect::<String>());
}

#[test]
fn an_endless_input_ends_with_the_command() {
    let lab = Lab::new();
    let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let endless = yes.stdout.take().unwrap();
    let mut command = lab.command(&["run", "-q", "--", "head", "-1"]);
    let mut run = command.stdin(endless).spawn().unwrap();
    drop(command);
    let mut printed = String::new();
    run.stdout
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    assert_eq!((code_of(run), printed.as_str()), (Some(0), "y\n"));
    // Its writer is told, as in any pipeline.
    yes.wait().unwrap();
}

#[test]
fn a_large_input_waits_for_a_slow_command_and_is_read_no_further_than_it_must() {
    let lab = Lab::new();
    let input = "0123456789abcde\n".repeat(1 << 18);
    let slow = "sleep 0.3; head -c 100 > /dev/null; sleep 0.3; wc -c";
    let ended = lab.sandbox_with_input(&["run", "-q", "--shell", slow], &input);
    let left: usize = ended.code(0).stdout.trim().parse().unwrap();
    assert_eq!(left, input.len() - 100);

    // One that never reads: our writer is not kept longer than the command runs.
    let mut command = lab.command(&["run", "-q", "--", "sleep", "0.3"]);
    let mut run = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = run.stdin.take().unwrap();
    let written = stdin.write_all(input.as_bytes());
    assert!(written.is_err(), "more was read than a command would read");
    drop(stdin);
    assert_eq!(code_of(run), Some(0));
}

#[test]
fn files_get_the_permissions_that_the_caller_gives_new_ones() {
    let lab = Lab::new();
    for more in [&[][..], &["--no-session"], &["--direct"]] {
        let mut args = vec!["run", "-q"];
        args.extend(more);
        args.extend(["--", "sh", "-c", "umask; echo x > f; stat -c %a f; rm f"]);
        let ours = lab.command(&args);
        let mut outer = Command::new("sh");
        outer
            .args(["-c", "umask 027; exec \"$@\"", "sh"])
            .arg(ours.get_program())
            .args(ours.get_args())
            .current_dir(lab.workspace());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        let output = outer.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "0027\n640\n",
            "{args:?}: {output:?}"
        );
    }
}
