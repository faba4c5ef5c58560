//! `wend sim`: a mesh in virtual time, and what was found.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use wend_sim::measure::Kind;
use wend_sim::report::{MediumReport, Report as Found};
use wend_sim::scenario::{Failed, Options, Scenario, Unit, Wanted};
use wend_sim::scenarios::{ALL, find};

use super::report::{Exit, Report};
use super::table::{Table, bitrate, counted, emit, emit_json, seconds};

/// How a run that was interrupted ends, as shells have it.
const INTERRUPTED: i32 = 130;
/// Parts of the progress bar.
const PARTS: u64 = 1000;

#[derive(Debug, Args)]
pub(super) struct SimArgs {
    /// Which scenario; --list shows them
    #[arg(value_parser = PossibleValuesParser::new(ALL.map(|scenario| scenario.name)), hide_possible_values = true)]
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// What all randomness follows from; the same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Virtual time, such as 90s, 45m, 12h or 2d; default: the scenario's own
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Write a picture of convergence and airtime over time
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    format: super::Format,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write it like 90s, 45m, 12h or 2d".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let whole = count.checked_mul(unit).filter(|whole| (1..=366 * 86_400).contains(whole)).ok_or_else(wrong)?;
    Ok(Duration::from_secs(whole))
}

pub(super) fn sim(args: &SimArgs) -> Result<Exit, Report> {
    let Some(scenario) = args.scenario.as_deref().filter(|_| !args.list).and_then(find) else {
        return list(args.format.json);
    };
    let found = run(scenario, args)?;
    if let Some(path) = &args.plot {
        std::fs::write(path, wend_sim::plot::svg(&found)).map_err(|error| {
            Report::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
                .help("name a file in a folder that exists and is yours with --plot")
        })?;
    }
    if args.format.json {
        emit_json(&found)?;
    } else {
        emit(&text(&found))?;
    }
    Ok(if found.passed { Exit::Done } else { Exit::Negative })
}

#[derive(serde::Serialize)]
struct Listed {
    name: &'static str,
    duration_s: u64,
    summary: &'static str,
}

fn list(json: bool) -> Result<Exit, Report> {
    let listed = |scenario: &Scenario| Listed {
        name: scenario.name,
        duration_s: scenario.duration.as_secs(),
        summary: scenario.summary,
    };
    if json {
        return emit_json(&ALL.map(listed));
    }
    let mut text = String::new();
    for scenario in ALL {
        let duration = seconds(scenario.duration.as_secs());
        text.push_str(&format!("{} ({duration})\n{}\n", scenario.name, wrapped(scenario.summary, "  ")));
    }
    emit(&text)
}

fn run(scenario: &'static Scenario, args: &SimArgs) -> Result<Found, Report> {
    let stop = interruption();
    let duration = args.duration.unwrap_or(scenario.duration);
    let bar = io::stderr().is_terminal().then(|| ProgressBar::new(PARTS).with_style(style()));
    let mut watch = |progress: &wend_sim::world::Progress| {
        if let Some(bar) = &bar {
            let share = progress.elapsed.as_secs_f64() / duration.as_secs_f64();
            bar.set_position((share * PARTS as f64) as u64);
            let elapsed = seconds(progress.elapsed.as_secs());
            bar.set_message(format!("{elapsed}, {} frames, {} of pairs", progress.frames, per_cent(progress.reach)));
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let found = scenario.run(Options { seed: args.seed, duration: args.duration }, &mut watch);
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    match found {
        Ok(found) => Ok(found),
        Err(Failed::Stopped { elapsed }) => {
            eprintln!("interrupted after {} of virtual time", seconds(elapsed.as_secs()));
            std::process::exit(INTERRUPTED);
        }
        Err(Failed::TooShort { name, shortest }) => {
            let least = seconds(shortest.as_secs());
            Err(Report::new(Exit::Usage, format!("the scenario `{name}` needs at least {least} of virtual time"))
                .help("leave --duration out, or give more"))
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Becomes true with Ctrl-C. Where it cannot be caught it ends the program, which loses nothing either.
fn interruption() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            stopped.store(true, Ordering::Relaxed);
        }
    });
    stop
}

fn per_cent(share: f64) -> String {
    let per_cent = share * 100.0;
    match per_cent.abs() {
        0.0 => "0 %".to_owned(),
        ..0.01 => "< 0.01 %".to_owned(),
        ..10.0 => format!("{per_cent:.2} %"),
        _ => format!("{per_cent:.1} %"),
    }
}

fn figure(value: f64, unit: Unit) -> String {
    match unit {
        _ if value.is_infinite() => "never".to_owned(),
        Unit::Share => per_cent(value),
        Unit::Seconds => format!("{value:.1} s"),
        Unit::Count => format!("{value}"),
    }
}

/// The text in lines that fit a terminal.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line + 1 + word.chars().count() > 80 && line > indent.len() {
            lines.push(indent.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn text(found: &Found) -> String {
    let nodes = &found.nodes;
    let mut out = format!("{}\n\n", wrapped(found.summary, ""));
    out.push_str(&format!(
        "{}, {} transport; {}; seed {}; {}\n\n",
        counted(nodes.total as u64, "node", "nodes"),
        nodes.transport,
        seconds(found.duration_s as u64),
        found.seed,
        counted(found.frames, "frame delivered", "frames delivered"),
    ));
    for part in [checks(found), airtime(found), media(found), traffic(found), tables(found)] {
        out.push_str(&part);
        out.push('\n');
    }
    let failed = found.failures().count();
    let verdict = match failed {
        0 => "all checks passed".to_owned(),
        failed => format!("{failed} of {} failed", counted(found.checks.len() as u64, "check", "checks")),
    };
    out + &verdict + "\n"
}

fn checks(found: &Found) -> String {
    let mut table = Table::new(["checked", "found", "wanted", ""]);
    for check in &found.checks {
        let wanted = match check.wanted {
            Wanted::AtLeast(least) => format!("at least {}", figure(least, check.unit)),
            Wanted::AtMost(most) => format!("at most {}", figure(most, check.unit)),
        };
        let verdict = if check.passed { "ok" } else { "FAILED" };
        table.row([check.what.clone(), figure(check.measured, check.unit), wanted, verdict.to_owned()]);
    }
    for note in &found.notes {
        table.row([note.what.clone(), figure(note.measured, note.unit), String::new(), String::new()]);
    }
    for share in [0.5, 0.95] {
        if let Some(point) = found.convergence.iter().find(|point| point.share >= share) {
            let what = format!("minutes until {} of pairs have a path", per_cent(share));
            table.row([what, format!("{:.0}", point.at_s / 60.0), String::new(), String::new()]);
        }
    }
    table.text()
}

/// Share of capacity by kind of traffic.
fn airtime(found: &Found) -> String {
    let headings =
        ["airtime", "all", "announces", "relayed", "path req.", "responses", "links", "data", "proofs", "other"];
    let mut table = Table::new(headings);
    for medium in &found.media {
        let share = |kind: Kind| medium.share.get(kind.label()).copied().unwrap_or_default();
        let all = per_cent(medium.share.values().sum());
        let kinds = Kind::ALL.map(|kind| per_cent(share(kind)));
        let [own, relayed, requests, responses, links, data, proofs, other] = kinds;
        table.row([medium.name.clone(), all, own, relayed, requests, responses, links, data, proofs, other]);
    }
    table.text()
}

fn media(found: &Found) -> String {
    let mut table = Table::new([
        "medium",
        "number",
        "interfaces",
        "bitrate",
        "sent",
        "received",
        "lost",
        "collided",
        "relayed, peak hour",
    ]);
    let row = |medium: &MediumReport| {
        [
            medium.name.clone(),
            medium.count.to_string(),
            medium.interfaces.to_string(),
            bitrate(medium.bitrate_bps),
            medium.sent.to_string(),
            medium.received.to_string(),
            medium.lost.to_string(),
            medium.collided.to_string(),
            per_cent(medium.relayed_announces_peak_share),
        ]
    };
    for medium in &found.media {
        table.row(row(medium));
    }
    table.text()
}

fn traffic(found: &Found) -> String {
    let deliveries = &found.deliveries;
    let mut table = Table::plain();
    if deliveries.requests > 0 {
        let answered = format!("{} of {} answered, {} open", deliveries.answered, deliveries.requests, deliveries.open);
        let times = format!("median {:.1} s, 95 % within {:.1} s", deliveries.median_s, deliveries.p95_s);
        table.row(["requests".into(), format!("{answered}; {times}")]);
    }
    if deliveries.packets > 0 {
        table.row(["packets".into(), format!("{} of {} proved", deliveries.proved, deliveries.packets)]);
    }
    if found.nodes.restarts > 0 {
        table.row(["restarts".into(), found.nodes.restarts.to_string()]);
    }
    let mut drops: Vec<_> = found.drops.iter().collect();
    drops.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let drops: Vec<_> = drops.into_iter().take(5).map(|(reason, count)| format!("{reason} {count}")).collect();
    table.row(["dropped most".into(), drops.join(", ")]);
    table.row(["trace".into(), found.trace.chars().take(16).collect()]);
    table.text()
}

fn tables(found: &Found) -> String {
    let mut table = Table::new(["fullest table", "entries", "bound"]);
    for size in found.tables.iter().filter(|size| size.entries > 0) {
        table.row([size.name.replace('_', " "), size.entries.to_string(), size.bound.to_string()]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        assert_eq!(duration("45m"), Ok(Duration::from_secs(2700)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "m", "45", "0s", "-1h", "1.5h", "9999999d", "5\u{b5}"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn long_text_is_wrapped_to_the_terminal() {
        let text = wrapped(ALL[0].summary, "  ");
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= 80 && line.starts_with("  ")));
    }

    #[test]
    fn a_report_names_what_was_checked_and_how_it_ended() {
        let scenario = find("eviction").expect("a scenario");
        let found = scenario.run_quietly(Options { seed: 1, duration: None }).expect("it runs");
        let text = text(&found);
        for part in ["CHECKED", "paths that left out of order", "AIRTIME", "LAN", "all checks passed"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
