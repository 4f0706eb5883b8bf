//! Reading keys, tokens and passwords.

use sandbox_types::Effect::ReadsSecret;

use super::{Rule, When};
use crate::{
    flow,
    risk::{Held, MEDIUM},
};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "secrets.read",
    score: MEDIUM + 5,
    effects: &[ReadsSecret],
    held: Held::View,
    when: When::Holds(flow::reads_secret),
    message: "reads keys, tokens or passwords",
    suggestion: "let the tool that needs the key read it itself",
    matches: &[
        "cat ~/.ssh/id_rsa",
        "cp /etc/shadow /tmp",
        "head -1 ~/.aws/credentials",
        "base64 < ~/.netrc",
        "tar cf x.tar ~/.gnupg",
        "cat /proc/1/environ",
        "find / -name id_rsa -exec cp {} /tmp ;",
    ],
    spares: &[
        "ls -la ~/.ssh",
        "ssh -i ~/.ssh/id_rsa host",
        "cat ~/.ssh/id_rsa.pub",
        "ssh-keygen -f ~/.ssh/id_rsa",
        "chmod 600 ~/.ssh/id_rsa",
        "cat README.md",
        "echo x >> ~/.npmrc",
    ],
}];
