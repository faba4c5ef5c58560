//! A report as a picture: how paths spread, and what each medium was used for, over time.

use std::fmt::Write;

use crate::measure::Kind;
use crate::report::{MediumReport, Report};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 62.0;
const TOP: f64 = 64.0;
/// Points a curve is drawn with at most; more lie too close to be told apart.
const COLUMNS: usize = 240;
/// A colour for each of [`Kind::ALL`], of like brightness and told apart by people who see few colours (after Okabe and Ito).
const COLOURS: [&str; Kind::ALL.len()] =
    ["#e69f00", "#d55e00", "#56b4e9", "#0072b2", "#cc79a7", "#009e73", "#f0e442", "#999999"];

/// Unit of the time axis: its name and its length in minutes.
fn time_unit(minutes: f64) -> (&'static str, f64) {
    if minutes <= 180.0 { ("min", 1.0) } else { ("h", 60.0) }
}

/// A round step that divides `span` into at most `most` parts.
fn step(span: f64, most: f64) -> f64 {
    let rough = (span / most).max(f64::MIN_POSITIVE);
    let magnitude = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|round| round * magnitude >= rough * 0.999);
    round.unwrap_or(10.0) * magnitude
}

/// A number without needless digits.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

struct Canvas {
    svg: String,
    minutes: f64,
}

impl Canvas {
    fn text(&mut self, x: f64, y: f64, anchor: &str, size: f64, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.svg,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{text}</text>"#
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.svg,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="1"/>"#
        );
    }

    fn x(&self, minute: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * minute / self.minutes
    }

    /// Frame, axes and their labels; the vertical axis goes from 0 to `top` per cent.
    fn axes(&mut self, y: f64, title: &str, label: &str, top: f64) {
        let bottom = y + PANEL;
        self.text(LEFT, y - 10.0, "start", 14.0, title);
        let rise = step(top, 4.0);
        let mut value = 0.0;
        while value <= top * 1.001 {
            let at = bottom - PANEL * value / top;
            self.line((LEFT, at), (WIDTH - RIGHT, at), "#dddddd");
            self.text(LEFT - 8.0, at + 4.0, "end", 11.0, &number(value));
            value += rise;
        }
        let (unit, length) = time_unit(self.minutes);
        let stride = step(self.minutes / length, 10.0);
        let mut time = 0.0;
        while time * length <= self.minutes * 1.001 {
            let x = self.x(time * length);
            self.line((x, bottom), (x, bottom + 4.0), "#555555");
            self.text(x, bottom + 17.0, "middle", 11.0, &number(time));
            time += stride;
        }
        self.line((LEFT, bottom), (WIDTH - RIGHT, bottom), "#555555");
        self.text((LEFT + WIDTH - RIGHT) / 2.0, bottom + 34.0, "middle", 11.0, &format!("time ({unit})"));
        let (x, middle) = (16.0, y + PANEL / 2.0);
        let label = escape(label);
        let _ = writeln!(
            self.svg,
            r#"<text x="{x}" y="{middle:.1}" text-anchor="middle" font-size="11" transform="rotate(-90 {x} {middle:.1})">{label}</text>"#
        );
    }

    fn area(&mut self, y: f64, top: f64, lower: &[f64], upper: &[f64], per_point: f64, colour: &str) {
        let bottom = y + PANEL;
        let height = |share: f64| bottom - PANEL * (share * 100.0 / top).clamp(0.0, 1.0);
        let mut points = String::new();
        let edges = |index: usize| (index as f64 * per_point, ((index + 1) as f64 * per_point).min(self.minutes));
        for (index, share) in upper.iter().enumerate() {
            let (from, to) = edges(index);
            let _ =
                write!(points, "{:.1},{:.1} {:.1},{:.1} ", self.x(from), height(*share), self.x(to), height(*share));
        }
        for (index, share) in lower.iter().enumerate().rev() {
            let (from, to) = edges(index);
            let _ =
                write!(points, "{:.1},{:.1} {:.1},{:.1} ", self.x(to), height(*share), self.x(from), height(*share));
        }
        let _ = writeln!(self.svg, r#"<polygon points="{}" fill="{colour}"/>"#, points.trim_end());
    }

    fn convergence(&mut self, y: f64, report: &Report) {
        self.axes(y, "Convergence", "pairs with a path (%)", 100.0);
        let mut points = String::new();
        let skip = report.convergence.len().div_ceil(COLUMNS).max(1);
        for point in report.convergence.iter().step_by(skip) {
            let at = y + PANEL - PANEL * point.share;
            let _ = write!(points, "{:.1},{at:.1} ", self.x(point.at_s / 60.0));
        }
        let points = points.trim_end();
        let _ = writeln!(self.svg, r##"<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="2"/>"##);
    }

    fn airtime(&mut self, y: f64, medium: &MediumReport) {
        let width = medium.minutes.len().div_ceil(COLUMNS).max(1);
        let columns: Vec<Vec<f64>> = medium
            .minutes
            .chunks(width)
            .map(|minutes| {
                let mean = |kind: Kind| {
                    let sum: f64 = minutes.iter().filter_map(|minute| minute.get(kind.label())).sum();
                    sum / minutes.len() as f64
                };
                Kind::ALL.into_iter().map(mean).collect()
            })
            .collect();
        let peak = columns.iter().map(|column| column.iter().sum::<f64>()).fold(0.0, f64::max) * 100.0;
        let rise = step(peak.max(0.0001), 4.0);
        let top = (peak / rise).ceil().max(1.0) * rise;
        let several = if medium.count == 1 { String::new() } else { format!(", mean of {}", medium.count) };
        self.axes(y, &format!("{}{several}", medium.name), "share of capacity (%)", top);
        let mut lower = vec![0.0; columns.len()];
        for (kind, colour) in Kind::ALL.into_iter().zip(COLOURS) {
            let upper: Vec<_> =
                columns.iter().zip(&lower).map(|(column, below)| column[kind.index()] + below).collect();
            if upper != lower {
                self.area(y, top, &lower, &upper, width as f64, colour);
            }
            lower = upper;
        }
    }

    fn legend(&mut self, y: f64) {
        let mut x = LEFT;
        for (kind, colour) in Kind::ALL.into_iter().zip(COLOURS) {
            let _ =
                writeln!(self.svg, r#"<rect x="{x:.1}" y="{:.1}" width="11" height="11" fill="{colour}"/>"#, y - 10.0);
            self.text(x + 15.0, y, "start", 11.0, kind.label());
            x += 24.0 + 6.1 * kind.label().len() as f64;
        }
    }
}

/// The report as an SVG document.
pub fn svg(report: &Report) -> String {
    let panels = report.media.len() + 1;
    let height = TOP + panels as f64 * (PANEL + GAP) + 24.0;
    let mut canvas = Canvas { svg: String::new(), minutes: (report.duration_s / 60.0).max(1.0) };
    let _ = writeln!(
        canvas.svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" fill="#222222">
<rect width="100%" height="100%" fill="#ffffff"/>"##
    );
    let title = format!("wend sim {} --seed {}: {} nodes", report.scenario, report.seed, report.nodes.total);
    canvas.text(LEFT, 26.0, "start", 16.0, &title);
    let mut y = TOP;
    canvas.convergence(y, report);
    for medium in &report.media {
        y += PANEL + GAP;
        canvas.airtime(y, medium);
    }
    canvas.legend(height - 14.0);
    canvas.svg.push_str("</svg>\n");
    canvas.svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Options;

    #[test]
    fn steps_are_round_and_few() {
        for (span, most, expected) in [(100.0, 4.0, 50.0), (180.0, 10.0, 20.0), (0.03, 4.0, 0.01), (28.0, 10.0, 5.0)] {
            assert!((step(span, most) / expected - 1.0).abs() < 1e-9, "{span}: {}", step(span, most));
        }
        assert_eq!([number(0.02), number(30.0)], ["0.02", "30"]);
    }

    #[test]
    fn a_picture_has_a_panel_for_each_medium_and_labels_with_units() {
        let scenario = crate::scenarios::find("eviction").expect("a scenario");
        let report = scenario.run_quietly(Options { seed: 1, duration: None }).expect("it runs");
        let svg = svg(&report);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("share of capacity (%)").count(), report.media.len());
        for label in ["time (min)", "pairs with a path (%)", "relayed announces", "wend sim eviction --seed 1"] {
            assert!(svg.contains(label), "{label}");
        }
        assert!(svg.matches("<polygon").count() >= report.media.len());
    }
}
