//! What the papers say must be so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// How a task is called in a text.
const CALL: &str = "cargo xtask ";

/// Compares the table of who may use whom with the one people read: lines of
/// `| crate | uses, uses |` after the heading "Who may use whom".
pub(super) fn table_is_the_same(
    root: &Path,
    may_use: &[(&str, &[&str])],
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).context("read ARCHITECTURE.md")?;
    let told = table(&text);
    for (name, uses) in may_use {
        match told.get(*name) {
            None => faults.push(format!("ARCHITECTURE.md does not tell whom {name} may use")),
            Some(told) if told != uses => faults.push(format!(
                "ARCHITECTURE.md says that {name} may use {told:?}, MAY_USE says {uses:?}"
            )),
            Some(_) => {}
        }
    }
    for name in told.keys() {
        if !may_use.iter().any(|(it, _)| it == name) {
            faults.push(format!("ARCHITECTURE.md tells of {name}, MAY_USE does not"));
        }
    }
    Ok(())
}

fn table(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .skip_while(|it| !it.starts_with("## Who may use whom"))
        .skip(1)
        .take_while(|it| !it.starts_with("## "))
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let name = cells.next()?.trim_matches('`').to_owned();
            let uses = cells.next()?;
            let uses: Vec<String> = uses
                .split(", ")
                .map(|it| it.trim_matches('`').to_owned())
                .filter(|it| !it.is_empty() && it != "nobody")
                .collect();
            Some((name, uses))
        })
        .filter(|(name, _)| name != "crate" && !name.starts_with('-'))
        .collect()
}

/// Every task that a paper tells people to run must be there.
pub(super) fn tasks_exist(root: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    for paper in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let Ok(text) = fs::read_to_string(root.join(paper)) else {
            continue;
        };
        for (at, _) in text.match_indices(CALL) {
            let task: String = text[at + CALL.len()..]
                .chars()
                .take_while(|it| it.is_ascii_lowercase() || *it == '-')
                .collect();
            if !crate::HELP.contains(&format!("\n  {task} "))
                && !crate::HELP.contains(&format!("\n  {task}\n"))
            {
                faults.push(format!(
                    "{paper} tells of `{CALL}{task}`, which does not exist"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_people_read_it() {
        let text = "\
# A
| not | this |
## Who may use whom
| crate | may use |
|---|---|
| `model` | nobody |
| `logic` | `model` |
| `edge` | `model`, `logic` |

## Else
| `other` | `model` |
";
        let table = table(text);
        assert_eq!(table.len(), 3);
        assert!(table["model"].is_empty());
        assert_eq!(table["edge"], ["model", "logic"]);
    }
}
