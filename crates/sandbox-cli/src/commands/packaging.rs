//! `sandbox completions` and `sandbox man`: what a package installs besides the program.

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    args::{ManArgs, Typed},
    exit_codes,
    failure::{Failure, Kind},
    settings::Settings,
    ui,
};

pub(crate) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Typed::command(), "sandbox", &mut script);
    ui::print(&String::from_utf8_lossy(&script))?;
    Ok(exit_codes::DONE)
}

pub(crate) fn man(settings: &Settings, args: &ManArgs) -> Result<u8, Failure> {
    let Some(directory) = &args.to else {
        ui::print(&page(Typed::command())?)?;
        return Ok(exit_codes::DONE);
    };
    clap_mangen::generate_to(Typed::command(), directory).map_err(|error| {
        Failure::of(Kind::Sandbox, &error)
            .while_doing(format!("cannot write the pages to {}", directory.display()))
            .hint("the directory must exist, and you must be able to write to it")
    })?;
    settings.ui.note(&format!(
        "sandbox: wrote the pages to {}",
        ui::inline(&directory.to_string_lossy())
    ));
    Ok(exit_codes::DONE)
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|error| {
        Failure::of(Kind::Internal, &error).while_doing("cannot write the page")
    })?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
