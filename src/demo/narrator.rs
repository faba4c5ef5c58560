//! Tells the story: to a person line by line, to a program as one document at the end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli::{Exit, Report, Table, emit, emit_json};

/// One step of the story.
#[derive(Debug, Clone, Serialize)]
struct Step {
    name: &'static str,
    ok: bool,
    started_ms: u64,
    took_ms: u64,
    facts: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The voice of the demo.
#[derive(Debug)]
pub(super) struct Narrator {
    json: bool,
    start: Instant,
    steps: Vec<Step>,
    summary: Vec<(&'static str, String)>,
}

/// What a step may note while it runs.
#[derive(Debug)]
pub(super) struct Notes {
    json: bool,
    start: Instant,
    bar: Option<ProgressBar>,
    facts: Map<String, Value>,
}

impl Notes {
    /// Tells a person something that just happened.
    pub(super) fn say(&self, text: &str) {
        if self.json {
            return;
        }
        let line = format!("{:6.2} s  {text}", self.start.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Shows what is being waited for, on a terminal.
    pub(super) fn progress(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// Notes a figure for the document.
    pub(super) fn fact(&mut self, name: &str, value: impl Serialize) {
        self.facts.insert(name.to_owned(), json!(value));
    }
}

impl Narrator {
    pub(super) fn new(json: bool) -> Self {
        Self { json, start: Instant::now(), steps: Vec::new(), summary: Vec::new() }
    }

    /// Runs a step under its name.
    pub(super) fn step<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Notes) -> Result<T, Report>,
    ) -> Result<T, Report> {
        let started = self.start.elapsed();
        if !self.json {
            println!("\n{:6.2} s  == {name}", started.as_secs_f64());
        }
        let bar = (!self.json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner().with_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let mut notes = Notes { json: self.json, start: self.start, bar, facts: Map::new() };
        let result = run(&mut notes);
        if let Some(bar) = &notes.bar {
            bar.finish_and_clear();
        }
        let took = self.start.elapsed().saturating_sub(started);
        self.steps.push(Step {
            name,
            ok: result.is_ok(),
            started_ms: millis(started),
            took_ms: millis(took),
            facts: notes.facts,
            error: result.as_ref().err().map(|report| report.message.clone()),
        });
        result.map_err(|mut report| {
            report.message = format!("step \"{name}\" failed: {}", report.message);
            report
        })
    }

    /// A line of the closing table.
    pub(super) fn sum_up(&mut self, what: &'static str, result: String) {
        self.summary.push((what, result));
    }

    /// Says something outside any step.
    pub(super) fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// Ends the story: the table, or the document.
    pub(super) fn finish(self, told: Result<Value, Report>) -> Result<Exit, Report> {
        if self.json {
            let summary: Map<String, Value> =
                self.summary.iter().map(|(what, result)| ((*what).to_owned(), json!(result))).collect();
            let mut document = json!({
                "ok": told.is_ok(),
                "took_ms": millis(self.start.elapsed()),
                "steps": self.steps,
                "summary": summary,
            });
            if let (Ok(nodes), Some(fields)) = (&told, document.as_object_mut()) {
                fields.insert("nodes".to_owned(), nodes.clone());
            }
            emit_json(&document)?;
        } else if told.is_ok() {
            let mut table = Table::new(["what", "result"]);
            for (what, result) in self.summary {
                table.row([what.to_owned(), result]);
            }
            emit(&format!("\n{}\nall in {:.1} s\n", table.text(), self.start.elapsed().as_secs_f64()))?;
        }
        told.map(|_| Exit::Done)
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
