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
        [":" | "true" | "/bin/true"] | ["[", "1", "]"] | ["test", "1"] => !until,
        ["false"] => until,
        _ => false,
    }
}

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
