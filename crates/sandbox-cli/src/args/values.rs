//! Values of options: amounts are checked against the same ranges as in the configuration.

use std::time::Duration;

use globset::{Glob, GlobMatcher};
use sandbox_core::KillSignal;
use sandbox_types::{Bytes, config::check_number, parse_duration};

use super::run::NetworkMode;

/// One year: a longer limit is a typing error.
const WALL_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const MIB: u64 = 1024 * 1024;

pub(super) fn wall_time(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    if span.is_zero() {
        return Err("must be longer than nothing, as in 30s".to_owned());
    }
    if span > WALL_TIME_MAX {
        return Err("must be at most one year".to_owned());
    }
    Ok(span)
}

/// How many of something.
pub(super) fn count_of(text: &str) -> Result<usize, String> {
    text.trim()
        .parse()
        .map_err(|_not_a_number| "expected a whole number, as in 20".to_owned())
}

/// A time that may be nothing.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    if span > WALL_TIME_MAX {
        return Err("must be at most one year".to_owned());
    }
    Ok(span)
}

pub(super) fn signal(text: &str) -> Result<KillSignal, String> {
    let upper = text.to_ascii_uppercase();
    let all = [
        KillSignal::Hup,
        KillSignal::Int,
        KillSignal::Quit,
        KillSignal::Kill,
        KillSignal::Term,
    ];
    let is_named = |signal: &KillSignal| {
        let name = signal.name();
        [name, name.trim_start_matches("SIG")].contains(&upper.as_str())
            || signal.number().to_string() == upper
    };
    let found = all.into_iter().find(is_named);
    found.ok_or_else(|| "expected HUP, INT, QUIT, KILL or TERM".to_owned())
}

/// The whole hash of a record.
pub(super) fn head(text: &str) -> Result<String, String> {
    let head = text.trim();
    if head.len() == 64 && head.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(head.to_ascii_lowercase());
    }
    Err("a head is 64 hexadecimal digits, as `sandbox audit verify` prints it".to_owned())
}

pub(super) fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = Glob::new(text).map_err(|error| error.kind().to_string())?;
    Ok(glob.compile_matcher())
}

pub(super) fn memory(text: &str) -> Result<Bytes, String> {
    size("resource_limits.memory_mb", text)
}

pub(super) fn disk(text: &str) -> Result<Bytes, String> {
    small_size("resource_limits.disk_mb", text)
}

pub(super) fn io_read(text: &str) -> Result<Bytes, String> {
    small_size("resource_limits.io_read_mb", text)
}

pub(super) fn io_write(text: &str) -> Result<Bytes, String> {
    small_size("resource_limits.io_write_mb", text)
}

pub(super) fn file_size(text: &str) -> Result<Bytes, String> {
    small_size("resource_limits.file_size_mb", text)
}

pub(super) fn output_total(text: &str) -> Result<Bytes, String> {
    small_size("resource_limits.output_total_mb", text)
}

pub(super) fn tmp_size(text: &str) -> Result<Bytes, String> {
    size("resource_limits.tmp_mb", text)
}

pub(super) fn inodes(text: &str) -> Result<u64, String> {
    number("resource_limits.inodes", text)
}

pub(super) fn open_files(text: &str) -> Result<u64, String> {
    number("resource_limits.open_files", text)
}

pub(super) fn cpu(text: &str) -> Result<u32, String> {
    let number = text.trim().trim_end_matches('%');
    count("resource_limits.cpu_percent", number).map_err(|error| {
        error.unwrap_or_else(|| format!("'{text}' is not a percentage, as in 150%"))
    })
}

pub(super) fn processes(text: &str) -> Result<u32, String> {
    count("resource_limits.processes", text)
        .map_err(|error| error.unwrap_or_else(|| format!("'{text}' is not a whole number")))
}

pub(super) fn network(text: &str) -> Result<NetworkMode, String> {
    match text {
        "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        "allow" => Ok(NetworkMode::Allow),
        _ => Err("expected none, allow or host".to_owned()),
    }
}

pub(super) fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return Err("the name is empty; expected KEY or KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value))
}

/// Less than one MiB is a useful bound too: only nothing is refused.
fn small_size(key: &str, text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text
        .parse()
        .map_err(|error: sandbox_types::BytesError| error.to_string())?;
    if bytes.get() > 0 && bytes.get() < MIB {
        Ok(bytes)
    } else {
        size(key, text)
    }
}

fn number(key: &str, text: &str) -> Result<u64, String> {
    let number: i64 = text
        .trim()
        .parse()
        .map_err(|_not_a_number| format!("'{text}' is not a whole number"))?;
    check_number(key, number).map_err(|error| error.reason)?;
    Ok(number.unsigned_abs())
}

fn size(key: &str, text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text
        .parse()
        .map_err(|error: sandbox_types::BytesError| error.to_string())?;
    let mib = i64::try_from(bytes.get() / MIB).unwrap_or(i64::MAX);
    check_number(key, mib).map_err(|error| error.reason)?;
    Ok(bytes)
}

/// Fails with a reason, or with `None` when the text is no number at all.
fn count(key: &str, text: &str) -> Result<u32, Option<String>> {
    let number: i64 = text.trim().parse().map_err(|_not_a_number| None)?;
    check_number(key, number).map_err(|error| Some(error.reason))?;
    u32::try_from(number).map_err(|_checked_before| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_ranges() {
        assert_eq!(memory("1G").unwrap(), Bytes::mib(1024));
        assert_eq!(cpu("150%").unwrap(), 150);
        assert_eq!(disk("64K").unwrap(), Bytes(65_536));
        for bad in ["0", "-5", "1K", "lots"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-5s", "5 weeks", "9999999h"] {
            assert!(wall_time(bad).is_err(), "{bad}");
        }
        assert!(cpu("0%").is_err() && processes("0").is_err() && disk("0").is_err());
        assert!(network("some").unwrap_err().contains("none, allow or host"));
    }
}
