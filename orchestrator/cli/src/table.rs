//! Small tables for people: columns as wide as their widest cell.

use std::fmt;

/// Rows of cells under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these column titles; a title that starts with `>` is of a column aligned to the right.
    pub(crate) fn new<const N: usize>(titles: [&str; N]) -> Self {
        Self {
            right: titles.iter().map(|title| title.starts_with('>')).collect(),
            rows: vec![
                titles
                    .map(|title| title.trim_start_matches('>').to_owned())
                    .to_vec(),
            ],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell_width = |cell: &String| cell.chars().count();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let widest = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(cell_width)
                    .max();
                let width = widest.unwrap_or(0);
                line.push(' ');
                if self.right.get(column) == Some(&true) {
                    line += &format!("{cell:>width$} ");
                } else {
                    line += &format!("{cell:<width$} ");
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["level", ">calls"]);
        table.row(["target".into(), "9".into()]);
        table.row(["é".into(), "12345678".into()]);
        let expected = "  level      calls\n  target         9\n  é       12345678\n";
        assert_eq!(table.to_string(), expected);
    }
}
