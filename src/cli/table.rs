//! Plain tables and documents on standard output.

use std::io::{self, Write};

use serde::Serialize;

use super::report::{Exit, Report};

/// Rows of cells, printed in columns as wide as their widest cell. The last column is not padded.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(|heading| heading.to_uppercase()).into()] }
    }

    /// A table of names and values, without headings.
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The text, each line ended.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = width.saturating_sub(cell.chars().count()) + 2;
                line.push_str(&printable(cell));
                line.extend(std::iter::repeat_n(' ', gap));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names and descriptions come from strangers: control characters in them would reach the terminal as commands, and
/// characters that turn the direction of writing would show something else than what is there.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for a text of several lines.
pub(super) fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(&line.replace('\t', " "))).collect::<Vec<_>>().join("\n")
}

fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A document whose texts steer no terminal either. JSON itself escapes only the control characters of ASCII.
pub(super) fn printable_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) && c != '\n' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// `1 hop`, `2 hops`.
pub(crate) fn counted(count: impl Into<u64>, one: &str, many: &str) -> String {
    match count.into() {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// Prints text that is ready. A reader that has gone, as in `| head`, is a clean end.
pub(crate) fn emit(text: &str) -> Result<Exit, Report> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Report::new(Exit::Negative, format!("cannot write the result: {error}")))
        }
        _ => Ok(Exit::Done),
    }
}

/// Prints one JSON document.
pub(crate) fn emit_json(value: &impl Serialize) -> Result<Exit, Report> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Report::new(Exit::Negative, format!("the result has no JSON form: {error}")))?;
    emit(&(printable_json(&text) + "\n"))
}

/// A number of bytes for a person.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut scaled = count as f64;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

/// A bitrate for a person.
pub(super) fn bitrate(bits_per_second: u64) -> String {
    match bits_per_second {
        0..1_000 => format!("{bits_per_second} bit/s"),
        1_000..1_000_000 => format!("{:.1} kbit/s", bits_per_second as f64 / 1e3),
        _ => format!("{:.0} Mbit/s", bits_per_second as f64 / 1e6),
    }
}

/// A length of time for a person.
pub(super) fn seconds(count: u64) -> String {
    match count {
        0..120 => format!("{count} s"),
        120..7_200 => format!("{} min", count / 60),
        7_200..172_800 => format!("{} h", count / 3_600),
        _ => format!("{} days", count / 86_400),
    }
}

/// The head of a hash, as long as a person needs to tell a few apart; commands take it too.
pub(crate) fn short(hash: &impl ToString) -> String {
    hash.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_where_the_text_does() {
        let mut table = Table::new(["name", "hops"]);
        table.row(["workshop".into(), "1".into()]);
        assert_eq!(table.text(), "NAME      HOPS\nworkshop  1\n");
    }

    #[test]
    fn control_characters_of_strangers_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(printable_lines("a\n\u{9b}b\tc"), "a\n\u{fffd}b c");
        let json = printable_json("{\n\"a\": \"\u{7f}\u{9b}é\"}");
        assert_eq!(json, "{\n\"a\": \"\\u007f\\u009bé\"}");
    }

    #[test]
    fn figures_are_rounded_for_reading() {
        assert_eq!([bytes(999), bytes(1_500), bytes(999_960)], ["999 B", "1.5 kB", "1.0 MB"]);
        assert_eq!([bitrate(9_600), bitrate(10_000_000)], ["9.6 kbit/s", "10 Mbit/s"]);
        assert_eq!([seconds(90), seconds(600), seconds(7_300)], ["90 s", "10 min", "2 h"]);
    }
}
