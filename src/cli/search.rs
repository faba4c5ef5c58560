//! Subcommands that find skills and show them.

use clap::Args;
use wend_commands::Value;
use wend_commands::builtin::genome;

use super::Format;
use super::client::call;
use super::node::scalar;
use super::report::{Exit, Report};
use super::table::{Table, bytes, counted, emit, emit_json, printable, printable_lines, short};
use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// What the skill should do, in your own words
    #[arg(required = true)]
    query: Vec<String>,
    /// Only this kind: lora, persona, dataset, service or embedder
    #[arg(long)]
    kind: Option<String>,
    /// Only skills for this base model
    #[arg(long, value_name = "ID")]
    base_model: Option<String>,
    /// Only this licence, by its SPDX id
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// Only this language, by its code
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// At most so many hits
    #[arg(
        long,
        value_name = "N",
        default_value_t = genome::Search::DEFAULT_LIMIT,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(genome::Search::MAX_LIMIT)),
    )]
    limit: u16,
    /// Ask no other node
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The entry: its id, the head of its id, or the skill's name
    entry: String,
    /// Fetch the manifest from this node
    #[arg(long)]
    node: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn search(home: &Home, args: &SearchArgs) -> Result<Exit, Report> {
    let query = genome::Search {
        kind: args.kind.clone(),
        base_model: args.base_model.clone(),
        licence: args.licence.clone(),
        language: args.language.clone(),
        limit: Some(args.limit),
        local: Some(args.local),
        ..genome::Search::by_text(args.query.join(" "))
    };
    let reply = call(home, &query)?;
    let exit = if reply.hits.is_empty() { Exit::Negative } else { Exit::Done };
    if args.format.json {
        emit_json(&reply)?;
        return Ok(exit);
    }
    let mut table = Table::new(["entry", "score", "kind", "name", "held by", "about"]);
    for hit in &reply.hits {
        table.row([
            short(&hit.entry),
            format!("{:.3}", hit.score),
            hit.kind.clone(),
            hit.name.clone(),
            hit.held_by.map_or_else(|| "this node".into(), |holder| short(&holder)),
            headline(&hit.description),
        ]);
    }
    if !reply.hits.is_empty() {
        emit(&table.text())?;
    }
    let asked = match (reply.nodes_asked, reply.nodes_answered) {
        (0, _) => String::new(),
        (asked, answered) => format!("; {} asked, {answered} answered", counted(asked, "other node", "other nodes")),
    };
    let (by, why) = why_words(&reply.ranked_by);
    eprintln!(
        "{} among {}, ranked by {}{asked}",
        counted(reply.hits.len() as u64, "hit", "hits"),
        counted(reply.searched, "entry", "entries"),
        printable(by)
    );
    if let Some(why) = why {
        eprintln!("  not by meaning: {}", printable(why));
    }
    Ok(exit)
}

/// What an order is by, and, where it could have been by meaning, why it is not.
fn why_words(ranked_by: &str) -> (&str, Option<&str>) {
    let why = ranked_by.strip_prefix("words (").and_then(|rest| rest.strip_suffix(')'));
    if why.is_some() { ("words", why) } else { (ranked_by, None) }
}

/// The head of a description, for one line.
fn headline(description: &str) -> String {
    const WIDTH: usize = 60;
    let description = description.replace(char::is_whitespace, " ");
    match description.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", description.get(..end).unwrap_or_default()),
        None => description,
    }
}

pub(super) fn show(home: &Home, args: &ShowArgs) -> Result<Exit, Report> {
    let entry = call(home, &genome::Show { entry: args.entry.clone(), node: args.node.clone() })?;
    if args.format.json {
        return emit_json(&entry);
    }
    let mut table = Table::plain();
    let mut line = |name: &str, value: String| table.row([name.to_owned(), value]);
    line("name", entry.name.clone());
    line("entry", entry.entry.to_string());
    line("kind", entry.kind.clone());
    line("publisher", if entry.own { format!("{} (this node)", entry.publisher) } else { entry.publisher.to_string() });
    let signature =
        if entry.card_verified { "card signed by its publisher" } else { "card NOT signed by its publisher" };
    line("signature", signature.into());
    if let Some(version) = entry.version.clone() {
        line("version", version);
    }
    if let Some(base_model) = entry.base_model.clone() {
        line("base model", base_model);
    }
    line("licence", entry.licence.clone().unwrap_or_else(|| entry.licence_class.clone()));
    if !entry.languages.is_empty() {
        line("languages", entry.languages.join(", "));
    }
    if !entry.tags.is_empty() {
        line("tags", entry.tags.join(", "));
    }
    match (entry.manifest_verified, entry.manifest_bytes, entry.fetched_from) {
        (true, Some(len), Some(node)) => {
            line("manifest", format!("verified, {} fetched from {}", bytes(len.into()), short(&node)));
        }
        (true, Some(len), None) => line("manifest", format!("verified, {}", bytes(len.into()))),
        _ => line("manifest", "not here".into()),
    }
    match entry.described_only {
        Some(true) => line("files", "none: described only".into()),
        Some(false) => {
            for file in &entry.files {
                line("file", format!("{}, {}", file.path, bytes(file.size_bytes)));
            }
        }
        None => {}
    }
    if let Some(adapter) = &entry.adapter {
        line("adapter", facts(adapter));
    }
    let about = entry.description.as_deref().map(|text| format!("\n{}\n", printable_lines(text))).unwrap_or_default();
    emit(&format!("{}{about}", table.text()))
}

/// What is known of an adapter, in one line: `rank 8, alpha 16, targets q_proj v_proj`.
fn facts(adapter: &Value) -> String {
    let Value::Map(fields) = adapter else { return scalar(adapter) };
    let shown = |value: &Value| match value {
        Value::List(items) => items.iter().map(scalar).collect::<Vec<_>>().join(" "),
        other => scalar(other),
    };
    fields.iter().map(|(key, value)| format!("{} {}", scalar(key), shown(value))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_an_adapter_are_one_line_for_a_person() {
        let adapter = serde_json::from_str(r#"{"rank":8,"targets":["q_proj","v_proj"],"dtype":"f16"}"#).expect("JSON");
        assert_eq!(facts(&adapter), "rank 8, targets q_proj v_proj, dtype f16");
    }

    #[test]
    fn why_an_order_is_not_by_meaning_is_told_apart_from_what_it_is_by() {
        assert_eq!(why_words("words"), ("words", None));
        assert_eq!(why_words("words (no model (in /x): get one)"), ("words", Some("no model (in /x): get one")));
        assert_eq!(why_words("meaning (all-MiniLM-L6-v2)"), ("meaning (all-MiniLM-L6-v2)", None));
    }

    #[test]
    fn a_description_of_several_lines_is_shown_in_one() {
        assert_eq!(headline("first\nsecond"), "first second");
        assert_eq!(headline(&"x".repeat(61)).chars().count(), 61);
    }
}
