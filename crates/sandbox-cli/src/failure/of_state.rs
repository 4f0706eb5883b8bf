//! What the errors of the state mean for a person: whose fault, and what to do next.

use sandbox_core::{
    KeyError, LookupError, RekeyError, StateAccessError, StateError, StoreError, StoreReadError,
    StoreWriteError,
};

use super::{
    Failure, Kind,
    hints::{NEWER, with_journal_hint, with_system_hint},
};

impl From<StateAccessError> for Failure {
    fn from(error: StateAccessError) -> Self {
        match error {
            StateAccessError::State(error) => match *error {
                StateError::Open(error) => of_open(&error),
                StateError::Read(error) => of_read(&error),
                StateError::Write(error) => of_write(&error),
                error => Self::of(Kind::Sandbox, &error),
            },
            StateAccessError::Gone(_) => {
                Self::of(Kind::NotFound, &error).hint("`sandbox list` shows all sandboxes")
            }
            StateAccessError::Lost { .. } | StateAccessError::Older { .. } => {
                Self::of(Kind::Sandbox, &error)
                    .hint("put the newest copy of the file back, if there is one")
                    .hint(RECOVER)
            }
            StateAccessError::Aside { .. } => {
                with_system_hint(Self::of(Kind::Sandbox, &error), &error)
            }
            StateAccessError::Rollback(_) | StateAccessError::RollbackLeft => with_system_hint(
                Self::of(Kind::Sandbox, &error),
                &error,
            )
            .hint(
                "`sandbox doctor` says what cannot be settled; the rollback is finished after that",
            ),
            StateAccessError::Journal(_) | StateAccessError::Record(_) | _ => {
                with_journal_hint(Self::of(Kind::Sandbox, &error), &error)
            }
        }
    }
}

impl From<RekeyError> for Failure {
    fn from(error: RekeyError) -> Self {
        let what = error.to_string();
        if let RekeyError::Store { sandbox, source } = error {
            return Self::from(*source).while_doing(what).hint(format!(
                "no key was changed; `-s {sandbox}` names that sandbox, as in `sandbox -s {sandbox} state recover`"
            ));
        }
        match &error {
            RekeyError::NoNewKey { origin } => Self::of(Kind::Usage, &error).hint(format!(
                "set {origin}_NEW to the new key, and {origin} to it afterwards"
            )),
            RekeyError::Key(source) => {
                of_key(source).while_doing("cannot replace the key of the secrets")
            }
            RekeyError::Store { .. }
            | RekeyError::State { .. }
            | RekeyError::Record { .. }
            | RekeyError::Find(_)
            | _ => with_system_hint(Self::of(Kind::Sandbox, &error), &error).hint(
                "run it again when that is mended: nothing is lost, and it goes on where it was",
            ),
        }
    }
}

fn of_open(error: &StoreError) -> Failure {
    let failure = Failure::of(Kind::Sandbox, error);
    match error {
        StoreError::Busy { .. } => {
            failure.hint("try again when it has ended; a program may keep the state open for long")
        }
        StoreError::Newer { .. } => failure.hint(NEWER),
        StoreError::Damaged { path, .. } => damaged(failure, path),
        StoreError::Open { .. }
        | StoreError::Create { .. }
        | StoreError::Random { .. }
        | StoreError::Database { .. }
        | _ => with_system_hint(failure, error),
    }
}

fn of_read(error: &StoreReadError) -> Failure {
    let failure = Failure::of(Kind::Sandbox, error);
    match error {
        StoreReadError::Lookup(error) => of_lookup(error),
        StoreReadError::Key(error) => of_key(error),
        StoreReadError::Damaged { path, .. } => damaged(failure, path),
        StoreReadError::Database { .. } | _ => with_system_hint(failure, error),
    }
}

fn of_write(error: &StoreWriteError) -> Failure {
    let failure = |kind| Failure::of(kind, error);
    match error {
        StoreWriteError::Lookup(error) => of_lookup(error),
        StoreWriteError::Key(error) => of_key(error),
        StoreWriteError::Conflict { key, .. } => failure(Kind::Refused).hint(format!(
            "somebody else changed it: look at `sandbox state history {key}`"
        )),
        StoreWriteError::StaysSecret { key } => failure(Kind::Refused).hint(format!(
            "give --secret, or `sandbox state delete {key}` first"
        )),
        StoreWriteError::Twice { .. } => failure(Kind::Usage).hint("give its last value alone"),
        StoreWriteError::Name { .. } => failure(Kind::Usage).hint("choose another key"),
        StoreWriteError::TooLarge { .. } => {
            failure(Kind::Usage).hint("keep it in a file of the workspace, and its path here")
        }
        StoreWriteError::Damaged { path, .. } => damaged(failure(Kind::Sandbox), path),
        StoreWriteError::Database { .. } | _ => with_system_hint(failure(Kind::Sandbox), error),
    }
}

fn of_lookup(error: &LookupError) -> Failure {
    let failure = Failure::of(Kind::NotFound, error);
    match error {
        LookupError::NoVersion { newest: 0, .. } => {
            failure.hint("`sandbox state list` shows the keys")
        }
        LookupError::NoVersion { key, .. } | LookupError::NotKept { key, .. } => {
            failure.hint(format!("`sandbox state history {key}` shows what is kept"))
        }
        LookupError::NoPin { .. } | LookupError::NoSequence { .. } => failure.hint(
            "the store of the state is another one than then; without --state, the workspace alone is rolled back",
        ),
        _ => failure,
    }
}

fn of_key(error: &KeyError) -> Failure {
    let failure = Failure::of(Kind::Sandbox, error);
    match error {
        KeyError::Missing { path } => failure
            .hint(format!(
                "put a copy of the key back at {}, or set SANDBOX_STATE_KEY to it",
                path.display()
            ))
            .hint(GIVE_UP),
        KeyError::Wrong { .. } => failure
            .hint("use the key that sealed them: the file in SANDBOX_HOME/keys, SANDBOX_STATE_KEY or SANDBOX_STATE_PASSPHRASE")
            .hint(GIVE_UP),
        KeyError::ShortPassphrase { .. } => failure.hint("a few random words are a good one"),
        KeyError::Malformed { .. } => {
            failure.hint("put a copy of the key back; `od -An -N32 -tx1 /dev/urandom | tr -d ' \\n'` makes a new one")
        }
        KeyError::Open { path, .. } => failure.hint(format!(
            "it must belong to you, and to nobody else: `chmod 600 {0}`, `chmod 700` for its directory",
            path.display()
        )),
        KeyError::Read { .. } | KeyError::Create { .. } | _ => with_system_hint(failure, error),
    }
}

const RECOVER: &str =
    "`sandbox state recover` goes on with what is there, and the journal says what was lost";

const GIVE_UP: &str = "without that key the secrets are lost: `sandbox state delete KEY` gives one up, and a new key is made when none is left";

fn damaged(failure: Failure, path: &std::path::Path) -> Failure {
    failure
        .hint(format!(
            "restore {} from a backup, if there is one",
            path.display()
        ))
        .hint(RECOVER)
}
