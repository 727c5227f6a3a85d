//! Text in aligned columns.

/// Between two columns.
const GAP: &str = "  ";

/// Rows under a heading. Numbers stand right, words left.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings. One that ends in `>` has its column aligned right.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell for each heading. Empty cells are shown as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells
            .into_iter()
            .map(|it| if it.is_empty() { "-".to_owned() } else { it })
            .collect();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    pub(crate) fn render(&self) -> String {
        self.render_with(super::bold_headings())
    }

    fn render_with(&self, bold: bool) -> String {
        let headings: Vec<String> = self
            .headings
            .iter()
            .map(|it| it.trim_end_matches('>').to_uppercase())
            .collect();
        let right: Vec<bool> = self.headings.iter().map(|it| it.ends_with('>')).collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| width(cell)).max().unwrap_or(0);
                widest.max(width(&headings[column]))
            })
            .collect();
        let mut text = line(&headings, &widths, &right);
        if bold {
            text = format!("\x1b[1m{}\x1b[0m\n", text.trim_end());
        }
        for row in &self.rows {
            text.push_str(&line(row, &widths, &right));
        }
        text
    }
}

/// Names and values, one pair a line.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    pub(crate) fn add(&mut self, name: &'static str, value: impl ToString) -> &mut Self {
        self.0.push((name, value.to_string()));
        self
    }

    pub(crate) fn render(&self) -> String {
        let widest = self.0.iter().map(|(name, _)| width(name)).max();
        let widest = widest.unwrap_or(0);
        self.0
            .iter()
            .map(|(name, value)| {
                let pad = " ".repeat(widest - width(name));
                format!("{name}{pad}{GAP}{value}\n")
            })
            .collect()
    }
}

fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .zip(right)
        .map(|((cell, wanted), right)| {
            let pad = " ".repeat(wanted.saturating_sub(width(cell)));
            if *right {
                format!("{pad}{cell}")
            } else {
                format!("{cell}{pad}")
            }
        })
        .collect();
    format!("{}\n", padded.join(GAP).trim_end())
}

/// In characters: good for the names and numbers that we print.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "load>", "nodes"]);
        table.row(["são-paulo", "7 %", "a1"].map(str::to_owned));
        table.row(["x", "100 %", ""].map(str::to_owned));
        assert_eq!(
            table.render_with(false),
            "NAME        LOAD  NODES\nsão-paulo    7 %  a1\nx          100 %  -\n"
        );
        assert!(table.render_with(true).starts_with("\x1b[1mNAME"));
    }

    #[test]
    fn facts_stand_in_a_row() {
        let mut facts = Facts::default();
        facts.add("id", 7).add("state", "up");
        assert_eq!(facts.render(), "id     7\nstate  up\n");
    }
}
