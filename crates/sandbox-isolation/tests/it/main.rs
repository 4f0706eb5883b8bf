//! Runs real commands in real confinement, as root and as an unprivileged user.
//!
//! Each test of a wall has a control: the same attempt outside succeeds, so it cannot pass for a wrong reason.

#[cfg(test)]
mod alone;
#[cfg(test)]
mod caller_death;
#[cfg(test)]
mod door;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod overlay;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod session;
#[cfg(test)]
mod spares;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod view;
#[cfg(test)]
mod walls;
