//! A health check of the program's own, with a repair.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{fs, path::PathBuf};

use sandbox_core::{Health, HealthCheck, Plugins, Recovery, RecoveryFailure};

/// The cache that the program's operations use must be there.
#[derive(Debug)]
struct Cache(PathBuf);

impl HealthCheck for Cache {
    fn name(&self) -> &'static str {
        "acme.cache"
    }

    fn check(&self) -> Health {
        if self.0.is_dir() {
            Health::healthy(self.0.display().to_string())
        } else {
            Health::failed(format!("{} is not there", self.0.display()))
        }
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        Some(self)
    }
}

impl Recovery for Cache {
    fn describe(&self) -> &'static str {
        "make the cache directory"
    }

    fn recover(&self) -> Result<String, RecoveryFailure> {
        fs::create_dir_all(&self.0).map_err(|error| RecoveryFailure {
            reason: format!("cannot make {}: {error}", self.0.display()),
        })?;
        Ok(format!("made {}", self.0.display()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = PathBuf::from("/tmp/sandbox-example-health-check");
    let plugins = Plugins::new().health_check(Cache(cache.clone()));
    // As whoever watches over the sandbox does.
    for check in plugins.health_checks() {
        println!("{}: {:?}", check.name(), check.check().state);
        if let Some(recovery) = check.recovery() {
            println!("{}: {}", recovery.describe(), recovery.recover()?);
        }
        println!("{}: {:?}", check.name(), check.check().state);
    }
    fs::remove_dir(cache)?;
    Ok(())
}
