//! `sandbox metrics`: figures for Prometheus, of all sandboxes or of the one that was named.

use crate::{exit_codes, failure::Failure, settings::Settings, ui};

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let home = settings.home()?;
    let records = match settings.name()? {
        Some(name) => vec![home.find(&name)?],
        None => home.list()?,
    };
    let metrics = home.metrics(&records);
    if settings.ui.is_json() {
        ui::print_json(&metrics.families())?;
    } else {
        ui::print(&metrics.to_prometheus_text())?;
    }
    Ok(exit_codes::DONE)
}
