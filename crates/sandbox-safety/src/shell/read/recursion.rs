//! Functions that start themselves.

use crate::shell::{Node, Span};

/// Returns whether a function's body starts the function itself in parallel.
pub(super) fn starts_itself_twice(name: &str, body: &Node) -> bool {
    fn calls(name: &str, node: &Node) -> usize {
        match node {
            Node::Simple(command) => {
                usize::from(command.words.first().is_some_and(|word| word.text == name))
            }
            Node::Pipeline(nodes) => nodes.iter().map(|node| calls(name, node)).sum(),
            Node::Group { body, .. } | Node::For { body, .. } => {
                body.iter().map(|node| calls(name, node)).sum()
            }
            Node::Background(node) => calls(name, node),
            Node::Function { .. } | Node::Words(_) | Node::Storm(_) => 0,
        }
    }
    match body {
        Node::Pipeline(_) => calls(name, body) > 1,
        Node::Background(node) => calls(name, node) > 0,
        Node::Group { body, .. } | Node::For { body, .. } => {
            body.iter().any(|node| starts_itself_twice(name, node))
        }
        Node::Simple(_) | Node::Function { .. } | Node::Words(_) | Node::Storm(_) => false,
    }
}

/// Returns whether a text starts its own script again and again: `$0 & $0 &`.
pub(super) fn starts_its_own_script(nodes: &[Node]) -> bool {
    fn own(node: &Node) -> bool {
        matches!(node, Node::Simple(command) if command.words.first().is_some_and(|word| {
            matches!(word.text.trim_start_matches("./"), "$0" | "\"$0\"" | "${BASH_SOURCE[0]}" | "\"${BASH_SOURCE[0]}\"")
        }))
    }
    let started = |node: &Node| {
        if let Node::Background(inner) = node {
            let alone = usize::from(own(inner));
            return if let Node::Pipeline(stages) = &**inner {
                stages.iter().filter(|it| own(it)).count()
            } else {
                alone
            };
        }
        let Node::Pipeline(stages) = node else {
            return 0;
        };
        let count = stages.iter().filter(|it| own(it)).count();
        if count > 1 { count } else { 0 }
    };
    nodes.iter().map(started).sum::<usize>() > 1
}

/// Returns whether an endless loop over `body` starts processes and has nothing to wait for: all that
/// is not started with `&` is over at once.
pub(in crate::shell) fn starts_without_end(body: &[Node]) -> bool {
    fn is_instant(node: &Node) -> bool {
        match node {
            Node::Background(_) | Node::Storm(_) | Node::Words(_) => true,
            Node::Group { body, .. } => body.iter().all(is_instant),
            Node::Simple(command) => command.words.first().is_none_or(|word| {
                matches!(word.text.as_str(), ":" | "true" | "echo" | "let" | "printf")
            }),
            Node::Pipeline(_) | Node::For { .. } | Node::Function { .. } => false,
        }
    }
    fn starts(node: &Node) -> bool {
        match node {
            Node::Background(_) => true,
            Node::Group { body, .. } => body.iter().any(starts),
            Node::Simple(_)
            | Node::Pipeline(_)
            | Node::For { .. }
            | Node::Function { .. }
            | Node::Words(_)
            | Node::Storm(_) => false,
        }
    }
    body.iter().any(starts) && body.iter().all(is_instant)
}

/// Returns whether a loop with this condition never ends by itself.
pub(in crate::shell) fn is_endless(condition: &[Node], until: bool) -> bool {
    let [Node::Simple(command)] = condition else {
        return false;
    };
    let words: Vec<&str> = command.words.iter().map(|it| it.text.as_str()).collect();
    match words.as_slice() {
        [":" | "true" | "/bin/true" | "((1))" | "(( 1 ))"]
        | ["[" | "test", "1" | "true" | ":", ..] => !until && !is_comparison(&words),
        ["false"] => until,
        _ => false,
    }
}

/// Returns whether a loop with this condition goes on as long as there is room: it only makes, copies and prints.
pub(in crate::shell) fn goes_on(condition: &[Node], until: bool) -> bool {
    let makes = |node: &Node| {
        let Node::Simple(command) = node else {
            return false;
        };
        command.words.first().is_some_and(|word| {
            matches!(
                word.text.as_str(),
                "mkdir" | "cd" | "cp" | "touch" | "echo" | "printf"
            )
        })
    };
    is_endless(condition, until) || !until && !condition.is_empty() && condition.iter().all(makes)
}

/// Returns whether a test compares: it is not known how it ends.
fn is_comparison(words: &[&str]) -> bool {
    matches!(words.first(), Some(&("[" | "test")))
        && words
            .iter()
            .any(|it| it.starts_with(['-', '=', '!', '$', '"']))
}

/// Returns whether something in an endless loop's body waits or leaves it.
pub(in crate::shell) fn waits(body: &[Node]) -> bool {
    fn does(node: &Node) -> bool {
        match node {
            Node::Simple(command) => command
                .words
                .first()
                .is_some_and(|word| WAITING.contains(&word.text.as_str())),
            Node::Pipeline(nodes)
            | Node::Group { body: nodes, .. }
            | Node::For { body: nodes, .. } => nodes.iter().any(does),
            Node::Background(node) => does(node),
            Node::Function { .. } | Node::Words(_) | Node::Storm(_) => false,
        }
    }
    body.iter().any(does)
}

/// Commands that wait for something or end a loop.
const WAITING: [&str; 23] = [
    "break",
    "exit",
    "return",
    "exec",
    "sleep",
    "usleep",
    "wait",
    "read",
    "timeout",
    "inotifywait",
    "fswatch",
    "select",
    "nc",
    "ncat",
    "socat",
    "tail",
    "watch",
    "ssh",
    "make",
    "flock",
    "continue",
    "systemctl",
    "journalctl",
];

/// Returns where the first command stands.
pub(in crate::shell) fn first_span(node: &Node) -> Span {
    match node {
        Node::Simple(command) => command.span,
        Node::Pipeline(nodes) | Node::Group { body: nodes, .. } | Node::For { body: nodes, .. } => {
            nodes.first().map_or((0, 0), first_span)
        }
        Node::Background(node) => first_span(node),
        Node::Storm(span) => *span,
        Node::Function { body, .. } => first_span(body),
        Node::Words(words) => words.first().map_or((0, 0), |word| word.span),
    }
}
