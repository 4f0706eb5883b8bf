//! Standard input, output and error.

use std::{io::Write as _, sync::Arc};

use sandbox_isolation::StdinSource;

use crate::lab::Lab;

#[test]
fn both_streams_arrive_apart() {
    let outcome = Lab::new().sh("echo out; echo err >&2; echo more > /dev/stdout");
    assert_eq!(outcome.output(), "out\nmore");
    assert_eq!(outcome.stderr, "err\n");
}

#[test]
fn much_output_arrives_whole() {
    let outcome = Lab::new().sh("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2");
    assert_eq!(outcome.output().len(), 3_000_000);
    assert_eq!(outcome.stderr, "end\n");
}

#[test]
fn stdin_is_empty_given_or_forwarded() {
    assert_eq!(Lab::new().run(&["cat"]).output(), "");
    let large = "line\n".repeat(100_000);
    let bytes = StdinSource::Bytes(large.clone().into_bytes());
    assert_eq!(
        Lab::new()
            .with(|plan| plan.stdin = bytes)
            .run(&["cat"])
            .stdout,
        large
    );
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"forwarded").unwrap();
    drop(writer);
    let forward = StdinSource::Forward(Arc::new(reader.into()));
    assert_eq!(
        Lab::new()
            .with(|plan| plan.stdin = forward)
            .run(&["cat"])
            .output(),
        "forwarded"
    );
}

#[test]
fn stdin_can_be_given_and_then_forwarded() {
    let first = "line\n".repeat(100_000);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"forwarded").unwrap();
    drop(writer);
    let preceded = StdinSource::Preceded(first.clone().into_bytes(), Arc::new(reader.into()));
    let outcome = Lab::new().with(|plan| plan.stdin = preceded).run(&["cat"]);
    assert_eq!(outcome.stdout, first + "forwarded");
}

#[test]
fn an_input_that_nobody_reads_blocks_nothing() {
    let bytes = StdinSource::Bytes(vec![b'x'; 1 << 20]);
    let outcome = Lab::new().with(|plan| plan.stdin = bytes).run(&["true"]);
    assert_eq!(outcome.output(), "");
    // Open for ever, and never with anything in it.
    let (reader, _writer) = std::io::pipe().unwrap();
    let forward = StdinSource::Forward(Arc::new(reader.into()));
    assert_eq!(
        Lab::new()
            .with(|plan| plan.stdin = forward)
            .run(&["true"])
            .output(),
        ""
    );
}
