//! Tables for people.

/// Longest cell that is shown.
const CELL_MAX: usize = 48;

/// A table with headed columns, each as wide as what is in it.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned).into()],
        }
    }

    /// Adds a row, with one cell for each heading.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| tame(&cell)).into());
    }

    /// How wide each column is.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let columns = self.rows[0].len();
        (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect()
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect();
            text.push_str(cells.concat().trim_end());
            text.push('\n');
        }
        text
    }
}

/// One line without control characters, cut where it gets long.
fn tame(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= CELL_MAX {
        return text.chars().map(clean).collect();
    }
    let mut short: String = text.chars().take(CELL_MAX - 1).map(clean).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["abc\n".to_owned(), "x".to_owned()]);
        assert_eq!(table.render(), "A     LONG\nabc   x\n");
    }
}
