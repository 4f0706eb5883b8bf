//! What can be typed after `sandbox scan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sandbox_types::{Bytes, RiskLevel};

/// Reads files and changes nothing; needs no sandbox
#[derive(Debug, Args)]
#[command(after_help = "\
Each finding is one line: PATH:LINE:COLUMN: SEVERITY [RULE] MESSAGE, and below it what was found.
Links are not followed, other file systems and .git/objects are left out, hidden files are not.

Exit codes: 0 nothing found, 1 findings or something could not be read, 2 wrong usage.")]
pub(crate) struct ScanArgs {
    /// Report findings of this severity and above
    #[arg(long, value_name = "LEVEL", default_value = "medium")]
    pub(crate) severity: Severity,
    /// Scan so much of each file: plain bytes, or with K, M, G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size)]
    pub(crate) max_size: Bytes,
    /// Print a SARIF 2.1.0 log, for tools of code review
    #[arg(long, conflicts_with = "json")]
    pub(crate) sarif: bool,
    /// Read this configuration file too, for the extensions and sizes that it does not allow
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A file, a directory with all that is in it, or - for standard input
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Severity> for RiskLevel {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
            Severity::Critical => Self::Critical,
        }
    }
}

fn size(text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text
        .parse()
        .map_err(|error: sandbox_types::BytesError| error.to_string())?;
    if bytes.get() == 0 {
        return Err("0 would scan nothing".to_owned());
    }
    Ok(bytes)
}
