//! What happens, in order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use wend_commands::builtin::{genome, mesh, node};
use wend_commands::{Code, Command as NodeCommand};
use wend_genome::model::Model;
use wend_packet::DestinationHash;

use super::cast::{LINE_BPS, Line, Player, free_port, set_free};
use super::narrator::{Narrator, Notes};
use crate::cli::{Exit, Report, bytes, install_model, short};
use crate::control::{ControlError, Progress};
use crate::home::Home;

const WORKSHOP_SKILLS: &str = include_str!("skills/workshop.jsonl");
const FIELD_SKILLS: &str = include_str!("skills/field.jsonl");
/// Skills of field that are published after the first sync, to show what a small difference costs.
const LATER: usize = 4;
/// No word of this stands in the entry it is meant to find.
const QUERY_MEANING: &str = "my chickens no longer produce any eggs";
/// For a node without a model, which knows no more of a far entry than its name.
const QUERY_WORDS: &str = "small poultry flock";
const EXPECTED: &str = "poultry-small-flock";
/// Seconds that anything over two hops may take.
const PATIENCE_S: u32 = 40;

/// The three nodes and what joins them.
struct Stage {
    folder: PathBuf,
    laptop: Player,
    workshop: Player,
    field: Player,
    line: Line,
    port: u16,
}

/// Tells the whole story; the value describes the nodes.
pub(super) fn tell(narrator: &mut Narrator, model: Option<&Path>, keep: bool) -> Result<Value, Report> {
    narrator.say("laptop --TCP-- workshop --serial line, half duplex, 9600 bit/s-- field");
    let model = narrator.step("the embedding model", |notes| find_model(notes, model))?;
    let folder = tempfile::Builder::new()
        .prefix("wend-demo-")
        .tempdir()
        .map_err(|error| Report::new(Exit::Negative, format!("no temporary folder can be made: {error}")))?;
    let mut stage = narrator.step("identities", |notes| set_up(notes, folder.path(), keep))?;
    narrator.step("three nodes start", |notes| start(notes, &mut stage, model.as_deref(), keep))?;
    narrator.step("announces and paths", |notes| find_each_other(notes, &stage)).map(|hops| {
        narrator.sum_up("laptop to field", format!("{hops} hops, no IP on the last one"));
    })?;
    let took = narrator.step("a command on field, from laptop", |notes| run_command(notes, &stage))?;
    narrator.sum_up("node/info on field", format!("answered in {took} ms"));
    narrator.step("40 skills are published", |notes| publish(notes, &stage))?;
    let first = narrator.step("the catalogs are brought into agreement", |notes| sync(notes, &stage, LATER))?;
    narrator.sum_up("catalogs in agreement", first);
    let small = narrator.step("4 skills more, and again", |notes| sync_small(notes, &stage))?;
    narrator.sum_up("sync of 4 new among 36", small);
    let hit = narrator.step("a search on laptop", |notes| search(notes, &stage, model.is_some()))?;
    narrator.sum_up("best hit", format!("{} on field, ranked by {}", hit.name, hit.ranked_by));
    let fetched = narrator.step("its signed manifest", |notes| fetch(notes, &stage, &hit))?;
    narrator.sum_up("manifest", fetched);
    narrator.step("a command that policy denies", |notes| be_denied(notes, &stage))?;
    narrator.sum_up("node/status on field, from laptop", "denied, as it should be".to_owned());
    Ok(close(narrator, stage, folder, keep))
}

/// Uses the installed model, installs one when there is none, and goes on without when that cannot be done.
fn find_model(notes: &mut Notes, chosen: Option<&Path>) -> Result<Option<PathBuf>, Report> {
    if !cfg!(feature = "embeddings") {
        notes.say("this build has no embedder: search goes by words");
        return Ok(None);
    }
    let home = Home::locate(None)?;
    let found = Model::find(chosen, home.dir()).map_err(Report::from).or_else(|missing| {
        if chosen.is_some() {
            return Err(missing);
        }
        notes.say(&missing.message);
        notes.say(&format!("installing it under {}; once done, it stays", home.dir().display()));
        install_model(&home, None)
    });
    match found {
        Ok(model) => {
            notes.say(&format!("all-MiniLM-L6-v2 in {}", model.folder().display()));
            notes.fact("folder", model.folder());
            Ok(Some(model.folder().to_owned()))
        }
        Err(report) if chosen.is_some() => Err(report),
        Err(report) => {
            notes.say(&format!("no model: {}", report.message));
            notes.say("going on by words");
            notes.fact("missing", report.message);
            Ok(None)
        }
    }
}

fn set_up(notes: &mut Notes, folder: &Path, keep: bool) -> Result<Stage, Report> {
    let laptop = Player::prepare("laptop", folder)?;
    let workshop = Player::prepare("workshop", folder)?;
    let field = Player::prepare("field", folder)?;
    for player in [&laptop, &workshop, &field] {
        notes.say(&format!(
            "{:<9} identity {}, destination {}",
            player.name,
            player.identity,
            short(&player.destination)
        ));
        notes.fact(player.name, json!({"identity": player.identity, "destination": player.destination}));
    }
    let line = Line::start(folder, keep)?;
    let port = free_port()?;
    let [near, far] = &line.ends;
    let (laptop_id, workshop_id) = (laptop.identity, workshop.identity);
    // Whom field answers is said by policy: laptop and workshop may ask, nobody else.
    let rules = |trusted: String| {
        format!(
            "[policy]\n\"node/ping\" = \"trusted\"\n\"node/info\" = \"trusted\"\n\"genome/*\" = \"trusted\"\n\
             [trust]\ntrusted = [{trusted}]\n[catalog]\nsync = false\n"
        )
    };
    laptop.configure(&format!(
        "[node]\nname = \"laptop\"\n[[interface]]\nname = \"to workshop\"\ntype = \"tcp-client\"\n\
         connect = \"127.0.0.1:{port}\"\n{}",
        rules(format!("\"{workshop_id}\"")),
    ))?;
    workshop.configure(&format!(
        "[node]\nname = \"workshop\"\ntransport = true\n[[interface]]\nname = \"bench\"\ntype = \"tcp-server\"\n\
         listen = \"127.0.0.1:{port}\"\n[[interface]]\nname = \"to field\"\ntype = \"serial\"\nport = {near:?}\n\
         speed = {LINE_BPS}\n{}",
        rules(format!("\"{laptop_id}\"")),
    ))?;
    field.configure(&format!(
        "[node]\nname = \"field\"\n[[interface]]\nname = \"to workshop\"\ntype = \"serial\"\nport = {far:?}\n\
         speed = {LINE_BPS}\n{}",
        rules(format!("\"{laptop_id}\", \"{workshop_id}\"")),
    ))?;
    Ok(Stage { folder: folder.to_owned(), laptop, workshop, field, line, port })
}

fn start(notes: &mut Notes, stage: &mut Stage, model: Option<&Path>, keep: bool) -> Result<(), Report> {
    let folder = stage.folder.clone();
    for player in [&mut stage.workshop, &mut stage.field, &mut stage.laptop] {
        let took = player.start(&folder, model, keep)?;
        let process = player.process().unwrap_or_default();
        notes.say(&format!("{:<9} answers after {} ms, process {process}", player.name, took.as_millis()));
        notes.fact(player.name, json!({"process": process, "answered_ms": super::narrator::millis(took)}));
    }
    notes.say(&format!("laptop connects to 127.0.0.1:{}; workshop and field share the line", stage.port));
    Ok(())
}

/// A path request does what an announce would: nobody waits for one.
fn find_each_other(notes: &mut Notes, stage: &Stage) -> Result<u8, Report> {
    let mut hops = 0;
    for player in [&stage.workshop, &stage.field] {
        let reply = ping(notes, &stage.laptop, player.destination)?;
        notes.say(&format!(
            "laptop found {} at {} hops in {} ms; a round trip on the link takes {} ms",
            player.name, reply.hops, reply.setup_ms, reply.round_trip_ms
        ));
        notes.fact(
            player.name,
            json!({"hops": reply.hops, "setup_ms": reply.setup_ms, "round_trip_ms": reply.round_trip_ms}),
        );
        hops = reply.hops;
    }
    for player in [&stage.laptop, &stage.workshop, &stage.field] {
        let known = player.ask(&node::Paths { matching: None }, |_| {})?.paths;
        let heard: Vec<String> = known
            .iter()
            .filter(|path| path.destination != player.destination)
            .map(|path| {
                let name = if path.name.is_empty() { short(&path.destination) } else { path.name.clone() };
                format!("{name} ({} hops)", path.hops)
            })
            .collect();
        notes.say(&format!(
            "{} has heard {}",
            player.name,
            if heard.is_empty() { "nobody yet".into() } else { heard.join(", ") }
        ));
    }
    if hops != 2 {
        return Err(Report::new(Exit::Negative, format!("field should be 2 hops from laptop and is {hops}")));
    }
    Ok(hops)
}

fn ping(notes: &Notes, from: &Player, to: DestinationHash) -> Result<mesh::PingReply, Report> {
    let ping = mesh::Ping { node: to.to_string(), payload_bytes: None, deadline_s: Some(PATIENCE_S) };
    from.ask(&ping, |progress| show(notes, &progress))
}

fn show(notes: &Notes, progress: &Progress) {
    notes.progress(match progress.total {
        0 => progress.step.clone(),
        total => format!("{}: {} of {total}", progress.step, progress.done),
    });
}

fn run_command(notes: &mut Notes, stage: &Stage) -> Result<u64, Report> {
    let execute = mesh::Execute {
        node: stage.field.destination.to_string(),
        command: <node::Info as NodeCommand>::NAME,
        params: None,
        deadline_s: Some(PATIENCE_S),
    };
    let reply = stage.laptop.ask(&execute, |progress| show(notes, &progress))?;
    let info: Value = serde_json::to_value(&reply.value).unwrap_or_default();
    let text = |pointer: &str| {
        info.pointer(pointer).map(|value| value.to_string().trim_matches('"').to_owned()).unwrap_or_default()
    };
    notes.say(&format!(
        "{} answers: version {}, up {} s, {} interface, {} cores, {} of memory",
        text("/name"),
        text("/version"),
        text("/uptime_s"),
        info["interfaces"].as_array().map_or(0, Vec::len),
        text("/hardware/processor/logical_cores"),
        bytes(info.pointer("/hardware/memory_total_bytes").and_then(Value::as_u64).unwrap_or_default()),
    ));
    notes.fact("reply", &info);
    notes.fact("elapsed_ms", reply.elapsed_ms);
    Ok(reply.elapsed_ms)
}

/// All of workshop's and most of field's; the rest comes after the first sync.
fn publish(notes: &mut Notes, stage: &Stage) -> Result<(), Report> {
    let early: String = FIELD_SKILLS.lines().skip(LATER).map(|line| format!("{line}\n")).collect();
    for (player, skills) in [(&stage.workshop, WORKSHOP_SKILLS), (&stage.field, &early)] {
        let reply = publish_on(notes, stage, player, skills)?;
        notes.say(&format!(
            "{} published {}, {} of them with a vector of their meaning",
            player.name,
            reply.entries.len(),
            reply.embedded
        ));
        notes.fact(player.name, json!({"published": reply.entries.len(), "embedded": reply.embedded}));
    }
    notes.say(&format!("{LATER} more of field's follow after the first sync"));
    Ok(())
}

fn publish_on(notes: &Notes, stage: &Stage, player: &Player, skills: &str) -> Result<genome::PublishReply, Report> {
    let path = stage.folder.join(format!("{}-skills.jsonl", player.name));
    std::fs::write(&path, skills)
        .map_err(|error| Report::new(Exit::Negative, format!("cannot write {}: {error}", path.display())))?;
    let publish = genome::Publish { path: path.display().to_string() };
    let reply = player.ask(&publish, |progress| show(notes, &progress))?;
    match reply.refused.first() {
        None => Ok(reply),
        Some(refusal) => Err(Report::new(Exit::Negative, format!("{}: {}", refusal.place, refusal.reason))),
    }
}

fn sync_between(notes: &mut Notes, from: &Player, to: &Player, fact: &str) -> Result<genome::CatalogSyncReply, Report> {
    let sync = genome::CatalogSync { node: to.destination.to_string(), deadline_s: Some(PATIENCE_S) };
    let reply = from.ask(&sync, |progress| show(notes, &progress))?;
    if !reply.equal {
        return Err(Report::new(Exit::Negative, format!("{} and {} are not in agreement", from.name, to.name)));
    }
    notes.say(&format!(
        "{} and {} agree after {:.1} s: {} cards in, {} out; {} of cards, {} of keys, {} to find out what differs",
        from.name,
        to.name,
        Duration::from_millis(reply.elapsed_ms).as_secs_f64(),
        reply.received,
        reply.sent,
        bytes(reply.card_bytes),
        bytes(reply.key_bytes),
        bytes(reply.sync_bytes),
    ));
    notes.fact(fact, &reply);
    Ok(reply)
}

fn sync(notes: &mut Notes, stage: &Stage, later: usize) -> Result<String, Report> {
    let serial = sync_between(notes, &stage.workshop, &stage.field, "workshop_field")?;
    let tcp = sync_between(notes, &stage.laptop, &stage.workshop, "laptop_workshop")?;
    let expected =
        u32::try_from(WORKSHOP_SKILLS.lines().count() + FIELD_SKILLS.lines().count() - later).unwrap_or(u32::MAX);
    if tcp.catalog_count != expected {
        let found = tcp.catalog_count;
        return Err(Report::new(Exit::Negative, format!("laptop knows {found} skills, it should know {expected}")));
    }
    let total = |reply: &genome::CatalogSyncReply| reply.card_bytes + reply.key_bytes + reply.sync_bytes;
    Ok(format!(
        "{expected} skills everywhere; {} over the line, {} over TCP",
        bytes(total(&serial)),
        bytes(total(&tcp))
    ))
}

fn sync_small(notes: &mut Notes, stage: &Stage) -> Result<String, Report> {
    let later: String = FIELD_SKILLS.lines().take(LATER).map(|line| format!("{line}\n")).collect();
    publish_on(notes, stage, &stage.field, &later)?;
    let serial = sync_between(notes, &stage.workshop, &stage.field, "workshop_field")?;
    sync_between(notes, &stage.laptop, &stage.workshop, "laptop_workshop")?;
    let again = sync_between(notes, &stage.laptop, &stage.workshop, "equal")?;
    notes.say(&format!("asked again, two equal catalogs cost {}", bytes(again.sync_bytes)));
    Ok(format!("{} beyond the cards and keys, over the line", bytes(serial.sync_bytes)))
}

/// The best hit of a search.
struct Best {
    name: String,
    entry: String,
    ranked_by: String,
}

fn search(notes: &mut Notes, stage: &Stage, meaning: bool) -> Result<Best, Report> {
    let query = if meaning { QUERY_MEANING } else { QUERY_WORDS };
    let search = genome::Search { limit: Some(3), local: Some(true), ..genome::Search::by_text(query) };
    let reply = stage.laptop.ask(&search, |_| {})?;
    notes.say(&format!("\"{query}\", ranked by {} among {} entries", reply.ranked_by, reply.searched));
    for (place, hit) in reply.hits.iter().enumerate() {
        let holder = match hit.held_by {
            Some(holder) if holder == stage.field.destination => "field",
            Some(holder) if holder == stage.workshop.destination => "workshop",
            _ => "laptop",
        };
        notes.say(&format!("  {}. {} ({:.3}), held by {holder}", place + 1, hit.name, hit.score));
    }
    notes.fact("query", query);
    notes.fact("reply", &reply);
    match reply.hits.first() {
        Some(hit) if hit.name == EXPECTED && hit.held_by == Some(stage.field.destination) => {
            Ok(Best { name: hit.name.clone(), entry: hit.entry.to_string(), ranked_by: reply.ranked_by.clone() })
        }
        Some(hit) => Err(Report::new(Exit::Negative, format!("the best hit is {}, not {EXPECTED} on field", hit.name))),
        None => Err(Report::new(Exit::Negative, "nothing was found")),
    }
}

fn fetch(notes: &mut Notes, stage: &Stage, hit: &Best) -> Result<String, Report> {
    let show_entry = genome::Show { entry: hit.entry.clone(), node: None };
    let entry = stage.laptop.ask(&show_entry, |progress| show(notes, &progress))?;
    if !entry.manifest_verified || entry.publisher != stage.field.identity {
        return Err(Report::new(Exit::Negative, "the manifest is not the one that field signed"));
    }
    let len = u64::from(entry.manifest_bytes.unwrap_or_default());
    notes.say(&format!("{} fetched over two hops; hash and signature are field's", bytes(len)));
    if let Some(description) = &entry.description {
        notes.say(&format!("  {description}"));
    }
    notes.fact("entry", &entry);
    Ok(format!("{}, verified", bytes(len)))
}

fn be_denied(notes: &mut Notes, stage: &Stage) -> Result<(), Report> {
    let command = <node::Status as NodeCommand>::NAME;
    let execute = mesh::Execute {
        node: stage.field.destination.to_string(),
        command,
        params: None,
        deadline_s: Some(PATIENCE_S),
    };
    match stage.laptop.try_ask(&execute, |progress| show(notes, &progress)) {
        Err(ControlError::Failed(failure)) if failure.code == Code::DENIED => {
            notes.say(&format!("field says: {}", failure.detail));
            notes.fact("detail", failure.detail);
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(Report::new(Exit::Negative, "field ran a command that its policy does not name")),
    }
}

/// Ends the nodes, or leaves them to whoever wants to look around.
fn close(narrator: &Narrator, mut stage: Stage, folder: tempfile::TempDir, keep: bool) -> Value {
    let describe = |player: &Player| {
        json!({
            "name": player.name,
            "identity": player.identity,
            "destination": player.destination,
            "home": player.home.dir(),
            "process": player.process(),
        })
    };
    let nodes = json!([describe(&stage.laptop), describe(&stage.workshop), describe(&stage.field)]);
    if !keep {
        return nodes;
    }
    let program = std::env::current_exe().map_or_else(|_| "wend".into(), |path| path.display().to_string());
    let processes: Vec<String> =
        [stage.laptop.process(), stage.workshop.process(), stage.field.process(), stage.line.process()]
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
    let home = stage.laptop.home.dir().display().to_string();
    narrator.say(&format!(
        "\nthe nodes keep running; explore them from laptop's point of view:\n\
         \x20 export WEND_HOME={home}\n\
         \x20 {program} status\n\
         \x20 {program} paths\n\
         \x20 {program} search \"review rust code for unsafe blocks\"\n\
         \x20 {program} exec --node field node/info\n\
         and stop them with\n\
         \x20 kill {} && rm -r {}",
        processes.join(" "),
        folder.path().display(),
    ));
    set_free(&mut [&mut stage.laptop, &mut stage.workshop, &mut stage.field], &mut stage.line);
    let _kept = folder.keep();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_skills_are_shipped_and_the_one_to_find_is_on_field() {
        assert_eq!(WORKSHOP_SKILLS.lines().count() + FIELD_SKILLS.lines().count(), 40);
        assert!(FIELD_SKILLS.lines().any(|line| line.contains(EXPECTED)));
        let found: Value = serde_json::from_str(FIELD_SKILLS.lines().last().unwrap_or_default()).unwrap_or_default();
        assert_eq!(found["name"], EXPECTED);
    }
}
