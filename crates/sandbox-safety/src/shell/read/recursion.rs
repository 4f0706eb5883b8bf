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
            Node::Function { .. } | Node::Words(_) => 0,
        }
    }
    match body {
        Node::Pipeline(_) => calls(name, body) > 1,
        Node::Background(node) => calls(name, node) > 0,
        Node::Group { body, .. } | Node::For { body, .. } => {
            body.iter().any(|node| starts_itself_twice(name, node))
        }
        Node::Simple(_) | Node::Function { .. } | Node::Words(_) => false,
    }
}

/// Returns where the first command stands.
pub(super) fn first_span(node: &Node) -> Span {
    match node {
        Node::Simple(command) => command.span,
        Node::Pipeline(nodes) | Node::Group { body: nodes, .. } | Node::For { body: nodes, .. } => {
            nodes.first().map_or((0, 0), first_span)
        }
        Node::Background(node) => first_span(node),
        Node::Function { body, .. } => first_span(body),
        Node::Words(words) => words.first().map_or((0, 0), |word| word.span),
    }
}
