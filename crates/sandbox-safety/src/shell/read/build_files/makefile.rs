//! Makefiles, as far as they say what is run.

use std::collections::BTreeMap;

use crate::shell::read::{VALUE_BYTES_MAX, given::SCRIPTS_MAX};

/// A recipe may ask for other targets so deep.
const TARGETS_DEPTH_MAX: usize = 8;

/// A Makefile, as far as it says what is run.
#[derive(Debug, Default)]
pub(super) struct Makefile {
    /// Each target with what it needs and its recipe, in order.
    targets: Vec<(String, Vec<String>, Vec<String>)>,
    variables: BTreeMap<String, String>,
}

impl Makefile {
    pub(super) fn read(text: &str) -> Self {
        let mut file = Self::default();
        for line in text.replace("\\\n", " ").lines() {
            if let Some(recipe) = line.strip_prefix('\t') {
                let recipe = recipe.trim_start_matches(['@', '-', '+', ' ']);
                if let Some((_, _, lines)) = file.targets.last_mut() {
                    lines.push(recipe.to_owned());
                }
            } else if let Some((name, value)) = line.split_once('=') {
                let name = name.trim_end_matches([':', '?', '+', ' ']).trim();
                file.variables
                    .insert(name.to_owned(), value.trim().to_owned());
            } else if let Some((targets, needs)) = line.split_once(':') {
                let needs: Vec<String> = needs.split_whitespace().map(str::to_owned).collect();
                for target in targets.split_whitespace() {
                    file.targets
                        .push((target.to_owned(), needs.clone(), Vec::new()));
                }
            }
        }
        file
    }

    /// Returns the recipes of the targets and of what they need; without targets, of the first.
    pub(super) fn recipes(&self, targets: &[&str]) -> Vec<String> {
        let first = self.targets.iter().map(|(name, ..)| name.as_str());
        let first = first.clone().find(|name| !name.starts_with('.'));
        let wanted: Vec<&str> = if targets.is_empty() {
            first.into_iter().collect()
        } else {
            targets.to_vec()
        };
        let mut found = Vec::new();
        for target in wanted {
            self.collect(target, 0, &mut found);
        }
        found
    }

    fn collect(&self, target: &str, depth: usize, found: &mut Vec<String>) {
        if depth > TARGETS_DEPTH_MAX || found.len() > SCRIPTS_MAX {
            return;
        }
        for (_, needs, recipe) in self.targets.iter().filter(|(name, ..)| name == target) {
            for need in needs {
                self.collect(need, depth + 1, found);
            }
            found.extend(recipe.iter().map(|line| self.expanded(line)));
        }
    }

    /// Puts in the values of variables, as far as the file says them, and turns `$$` into `$`.
    fn expanded(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in &self.variables {
            for form in [format!("$({name})"), format!("${{{name}}}")] {
                if line.contains(&form) && line.len() < VALUE_BYTES_MAX {
                    line = line.replace(&form, value);
                }
            }
        }
        line.replace("$$", "$")
    }
}

#[cfg(test)]
mod tests {
    use super::Makefile;

    #[test]
    fn recipes_follow_what_a_target_needs() {
        let text =
            "R = rm -rf\n.PHONY: all\nall: gone\n\t@echo done\ngone:\n\t$(R) $$HOME\nx: ; \n";
        let file = Makefile::read(text);
        assert_eq!(file.recipes(&[]), ["rm -rf $HOME", "echo done"]);
        assert_eq!(file.recipes(&["gone"]), ["rm -rf $HOME"]);
        assert!(file.recipes(&["unknown"]).is_empty());
        let circle = Makefile::read("a: b\n\techo a\nb: a\n\techo b\n");
        assert!(circle.recipes(&["a"]).len() < 20);
    }
}
