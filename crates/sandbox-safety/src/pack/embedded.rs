//! The packs that every judge has, compiled from `packs/*.yaml`.

#[rustfmt::skip]
mod agents;
#[rustfmt::skip]
mod cloud;
#[rustfmt::skip]
mod containers;
#[rustfmt::skip]
mod databases;
#[rustfmt::skip]
mod defence;
#[rustfmt::skip]
mod devices;
#[rustfmt::skip]
mod files;
#[rustfmt::skip]
mod git;
#[rustfmt::skip]
mod kubernetes;
#[rustfmt::skip]
mod packages;
#[rustfmt::skip]
mod programs;
#[rustfmt::skip]
mod system;
#[rustfmt::skip]
mod uploads;

use crate::rules::Rule;

/// The tables, in the order in which equally strong findings are told.
pub(crate) static TABLES: [&[Rule]; 13] = [
    devices::RULES,
    files::RULES,
    system::RULES,
    defence::RULES,
    programs::RULES,
    git::RULES,
    cloud::RULES,
    containers::RULES,
    kubernetes::RULES,
    databases::RULES,
    packages::RULES,
    agents::RULES,
    uploads::RULES,
];
