//! The states of a sandbox, and which step leads from which to which.
//!
//! ```text
//! created ──start──> running <──start/end──> ready
//!    └───────suspend──┐  │  ┌──suspend─────────┘
//!                     v  v  v
//!                   suspended ──resume──> running, ready or created
//!
//! destroy: from every state in which nothing runs
//! ```
//!
//! A state is not stored: it follows from what is there (the record, the file `suspended.json`, the
//! workspace, live operations), so that a crash cannot leave a wrong one. Each step is in the journal.

use std::fmt;

use sandbox_types::SandboxName;
use serde::Serialize;

/// The state of a sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was made, and nothing has run in it.
    Created,
    /// Nothing runs at the moment.
    Ready,
    /// Operations run.
    Running,
    /// Its operations stand still, and no other one may start.
    Suspended,
    /// Its workspace was removed or replaced.
    Broken,
    /// It is not there any more.
    Destroyed,
}

/// A step from one state to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transition {
    /// An operation starts, or the workspace is changed by `commit` or `undo`.
    Start,
    /// The last operation ends.
    End,
    /// Every process is frozen.
    Suspend,
    /// Every process goes on.
    Resume,
    /// Everything is released.
    Destroy,
}

/// The legal steps. After [`Transition::Resume`] what is there decides between three states; the
/// table has the one without operations.
const LEGAL: &[(State, Transition, State)] = &[
    (State::Created, Transition::Start, State::Running),
    (State::Created, Transition::Suspend, State::Suspended),
    (State::Created, Transition::Destroy, State::Destroyed),
    (State::Ready, Transition::Start, State::Running),
    (State::Ready, Transition::Suspend, State::Suspended),
    (State::Ready, Transition::Destroy, State::Destroyed),
    (State::Running, Transition::Start, State::Running),
    (State::Running, Transition::End, State::Ready),
    (State::Running, Transition::Suspend, State::Suspended),
    // A frozen operation is ended by who started it.
    (State::Suspended, Transition::End, State::Suspended),
    (State::Suspended, Transition::Resume, State::Ready),
    (State::Suspended, Transition::Destroy, State::Destroyed),
    (State::Broken, Transition::Destroy, State::Destroyed),
    (State::Destroyed, Transition::Destroy, State::Destroyed),
];

/// A step that is not possible now.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot {transition} '{sandbox}': {}", why(*state, *transition))]
pub struct IllegalTransition {
    /// Which sandbox.
    pub sandbox: SandboxName,
    /// Its state.
    pub state: State,
    /// What was asked for.
    pub transition: Transition,
}

impl State {
    /// Returns the state that follows.
    ///
    /// # Errors
    ///
    /// Fails when the step is not legal; the error says why.
    pub fn after(
        self,
        transition: Transition,
        sandbox: &SandboxName,
    ) -> Result<Self, IllegalTransition> {
        let step = LEGAL
            .iter()
            .find(|(from, step, _)| (*from, *step) == (self, transition));
        step.map(|(_, _, to)| *to).ok_or_else(|| IllegalTransition {
            sandbox: sandbox.clone(),
            state: self,
            transition,
        })
    }

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Broken => "broken",
            Self::Destroyed => "destroyed",
        }
    }

    /// Returns whether an operation may start.
    pub fn takes_operations(self) -> bool {
        LEGAL
            .iter()
            .any(|(from, step, _)| *from == self && *step == Transition::Start)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "use",
            Self::End => "end the operations of",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Destroy => "destroy",
        })
    }
}

fn why(state: State, transition: Transition) -> &'static str {
    match (state, transition) {
        (State::Suspended, Transition::Suspend) => "it is suspended already",
        (State::Suspended, _) => "it is suspended",
        (State::Broken, _) => "its workspace was removed or replaced",
        (State::Destroyed, _) => "it was destroyed",
        (State::Running, Transition::Destroy) => "operations are running in it",
        (_, Transition::Resume) => "it is not suspended",
        (_, _) => "nothing runs in it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] = [
        State::Created,
        State::Ready,
        State::Running,
        State::Suspended,
        State::Broken,
        State::Destroyed,
    ];

    fn refused(transition: Transition) -> Vec<String> {
        let name = "box".parse().unwrap();
        STATES
            .into_iter()
            .filter_map(|state| state.after(transition, &name).err())
            .map(|error| format!("{}: {error}", error.state))
            .collect()
    }

    #[test]
    fn every_illegal_step_says_why() {
        expect_test::expect![[r"
            created: cannot resume 'box': it is not suspended
            ready: cannot resume 'box': it is not suspended
            running: cannot resume 'box': it is not suspended
            broken: cannot resume 'box': its workspace was removed or replaced
            destroyed: cannot resume 'box': it was destroyed"]]
        .assert_eq(&refused(Transition::Resume).join("\n"));
        expect_test::expect![[r"
            suspended: cannot suspend 'box': it is suspended already
            broken: cannot suspend 'box': its workspace was removed or replaced
            destroyed: cannot suspend 'box': it was destroyed"]]
        .assert_eq(&refused(Transition::Suspend).join("\n"));
        expect_test::expect![[r"
            suspended: cannot use 'box': it is suspended
            broken: cannot use 'box': its workspace was removed or replaced
            destroyed: cannot use 'box': it was destroyed"]]
        .assert_eq(&refused(Transition::Start).join("\n"));
        expect_test::expect!["running: cannot destroy 'box': operations are running in it"]
            .assert_eq(&refused(Transition::Destroy).join("\n"));
        assert_eq!(refused(Transition::End).len(), 4);
    }
}
