//! Who depends on whom, as cargo tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::shell;

/// Normal and build dependencies by package name; dev-dependencies may be anything.
pub(super) struct Graph {
    all: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeMap<String, BTreeSet<String>>,
    /// Crates of ours that don't say what they are.
    nameless: Vec<String>,
}

impl Graph {
    pub(super) fn load() -> anyhow::Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version=1",
                "--offline",
                "--all-features",
            ])
            .current_dir(shell::root())
            .output()
            .context("run cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let json: Value = serde_json::from_slice(&output.stdout).context("parse cargo metadata")?;
        Ok(Self::parse(&json))
    }

    fn parse(json: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = list(&json["packages"]);
        let names: BTreeMap<String, String> = packages
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();

        let mut all = BTreeMap::<String, BTreeSet<String>>::new();
        for node in list(&json["resolve"]["nodes"]) {
            let uses = list(&node["deps"])
                .iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|it| it["kind"] != "dev"))
                .map(|dep| names[&text(&dep["pkg"])].clone())
                .collect();
            all.insert(names[&text(&node["id"])].clone(), uses);
        }
        let members: BTreeSet<String> = list(&json["workspace_members"]).iter().map(text).collect();
        let ours = members
            .iter()
            .map(|id| names[id].clone())
            .map(|name| (name.clone(), all[&name].clone()))
            .collect();
        let nameless = packages
            .iter()
            .filter(|it| members.contains(&text(&it["id"])) && text(&it["description"]).is_empty())
            .map(|it| text(&it["name"]))
            .collect();
        Self {
            all,
            ours,
            nameless,
        }
    }

    /// Our crates and whom they use.
    pub(super) fn ours(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.ours.iter()
    }

    pub(super) fn is_ours(&self, name: &str) -> bool {
        self.ours.contains_key(name)
    }

    pub(super) fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![from.to_owned()];
        while let Some(name) = todo.pop() {
            for used in self.all.get(&name).into_iter().flatten() {
                if seen.insert(used.clone()) {
                    todo.push(used.clone());
                }
            }
        }
        seen
    }

    pub(super) fn crates_say_what_they_are(&self, faults: &mut Vec<String>) {
        for name in &self.nameless {
            faults.push(format!("{name} has no description in its Cargo.toml"));
        }
    }
}
