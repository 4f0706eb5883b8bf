//! A health check of the program's own, with a repair.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{fs, path::PathBuf};

use sandbox_core::{
    Health, HealthCheck, Plugins, Recovery, RecoveryFailure, RepairBy, SandboxCore,
    monitor::HealthReport, types::SandboxConfig,
};

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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SandboxConfig::builder("health-check")
        .workspace("/tmp/sandbox-example-health-check")
        .build()?;
    let cache = PathBuf::from("/tmp/sandbox-example-health-check/cache");
    let plugins = Plugins::new().health_check(Cache(cache));
    let sandbox = SandboxCore::open_with(config, plugins).await?;
    tell(&sandbox.health().await);
    tell(&sandbox.repair_health(RepairBy::Person).await?.health);
    sandbox.cleanup().await?;
    Ok(())
}

/// Prints what our own check says; the built-in ones say how this host is.
fn tell(report: &HealthReport) {
    for checked in report.checks.iter().filter(|it| it.name == "acme.cache") {
        let Health { state, detail } = &checked.health;
        println!("{}: {state:?}: {detail}", checked.name);
    }
}
