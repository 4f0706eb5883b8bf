//! Justfiles, as far as they say what is run.

use std::collections::{BTreeMap, BTreeSet};

use crate::shell::read::given::SCRIPTS_MAX;

#[derive(Debug, Default)]
struct Recipe {
    needs: Vec<String>,
    lines: Vec<String>,
}

#[derive(Debug, Default)]
struct Justfile {
    first: Option<String>,
    recipes: BTreeMap<String, Recipe>,
    aliases: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

/// Returns what the recipes that `operands` name run, and what these need; without any, the first.
pub(super) fn recipes(text: &str, operands: &[&str]) -> Vec<String> {
    let file = Justfile::read(text);
    let named = operands.iter().map(|it| (*it).to_owned());
    let mut wanted: Vec<String> = if operands.is_empty() {
        file.first.iter().cloned().collect()
    } else {
        named.collect()
    };
    let (mut met, mut found) = (BTreeSet::new(), Vec::new());
    while let Some(name) = wanted.pop() {
        let name = file.aliases.get(&name).unwrap_or(&name).clone();
        let Some(recipe) = file.recipes.get(&name) else {
            continue;
        };
        if !met.insert(name) || found.len() > SCRIPTS_MAX {
            continue;
        }
        wanted.extend(recipe.needs.iter().cloned());
        found.extend(file.texts(recipe));
    }
    found
}

impl Justfile {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        let mut current = None;
        for line in text.replace("\\\n", " ").lines() {
            let trimmed = line.trim();
            if line.starts_with([' ', '\t']) {
                let recipe = current.as_ref().and_then(|it| file.recipes.get_mut(it));
                if let Some(recipe) = recipe.filter(|_| !trimmed.is_empty()) {
                    recipe.lines.push(trimmed.to_owned());
                }
                continue;
            }
            if trimmed.is_empty() || trimmed.starts_with(['#', '[']) {
                continue;
            }
            if let Some((name, value)) = line.split_once(":=") {
                file.assign(name.trim(), value.trim());
                continue;
            }
            let Some((head, needs)) = line.split_once(':') else {
                continue;
            };
            let name = head.trim_start_matches('@').split_whitespace().next();
            let name = name.unwrap_or_default().to_owned();
            let needs = needs
                .split(['(', ')', ' ', '&'])
                .filter(|it| !it.is_empty());
            let recipe = Recipe {
                needs: needs.map(str::to_owned).collect(),
                lines: Vec::new(),
            };
            file.first.get_or_insert_with(|| name.clone());
            file.recipes.insert(name.clone(), recipe);
            current = Some(name);
        }
        file
    }

    fn assign(&mut self, name: &str, value: &str) {
        let value = value.trim_matches(['"', '\'']).to_owned();
        match name.split_once(' ') {
            Some(("alias", name)) => {
                self.aliases.insert(name.trim().to_owned(), value);
            }
            Some(("export", name)) => {
                self.variables.insert(name.trim().to_owned(), value);
            }
            _ => {
                self.variables.insert(name.to_owned(), value);
            }
        }
    }

    /// Returns the lines of a recipe; one that names its interpreter is a text of it.
    fn texts(&self, recipe: &Recipe) -> Vec<String> {
        let is_script = recipe.lines.first().is_some_and(|it| it.starts_with("#!"));
        if is_script {
            return vec![self.expanded(&recipe.lines.join("\n"))];
        }
        let lines = recipe.lines.iter();
        let lines = lines.map(|line| self.expanded(line.trim_start_matches(['@', '-'])));
        lines.collect()
    }

    /// Puts in the values of variables; what is not known becomes a variable of the shell, which is not
    /// known either.
    fn expanded(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((name, after)) = behind.split_once("}}") else {
                rest = behind;
                break;
            };
            match self.variables.get(name.trim()) {
                Some(value) => out.push_str(value),
                None => out.push_str("${just}"),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}
