//! `genome/…`: the catalog and what is found in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wend_commands::Command as _;
use wend_commands::builtin::genome::{
    Catalog, CatalogReply, CatalogSync, CatalogSyncReply, Hit, Manifest, ManifestReply, Publish, PublishReply, Search,
    SearchReply, Show, ShowReply, Sync, SyncReply, Wanted,
};
use wend_commands::{Blob, Call, Caller, Code, Duplicate, EntryId, Failure, Registry};
use wend_genome::gossip::sync::Limits;
use wend_packet::DestinationHash;

use super::Tools;
use super::mesh::{arriving, millis, patience};
use crate::control::{self, fresh_id};
use crate::node::genome::{Found, Question};
use crate::node::{node_name, sync};

/// Other nodes that a search asks.
const ASKED_MAX: usize = 3;
/// How long a search waits for them.
const ASKED_PATIENCE: Duration = Duration::from_secs(5);
/// Hits asked of each: what fits two packets on a radio.
const ASKED_HITS: u16 = 3;
/// Places count less the further down they are; the usual constant of reciprocal rank fusion.
const FUSION: f64 = 60.0;

pub(super) fn register(registry: &mut Registry, tools: &Tools) -> Result<(), Duplicate> {
    let with = tools.clone();
    registry.register(move |caller: Caller, search: Search| find(with.clone(), caller, search))?;
    let with = tools.clone();
    registry.register(move |_: Caller, manifest: Manifest| give_manifest(with.clone(), manifest))?;
    let with = tools.clone();
    registry.register(move |caller: Caller, step: Sync| answer_sync(with.clone(), caller, step))?;
    let with = tools.clone();
    registry.register(move |_: Caller, publish: Publish| publish_path(with.clone(), publish))?;
    let with = tools.clone();
    registry.register(move |_: Caller, show: Show| show_entry(with.clone(), show))?;
    let with = tools.clone();
    registry.register(move |_: Caller, catalog: Catalog| list(with.clone(), catalog))?;
    let with = tools.clone();
    registry.register(move |_: Caller, asked: CatalogSync| sync_with(with.clone(), asked))
}

async fn find(tools: Tools, caller: Caller, search: Search) -> Result<SearchReply, Failure> {
    search.check()?;
    if search.text.trim().is_empty() {
        return Err(Failure::invalid("parameter `text` is empty; say what the skill should do"));
    }
    let mut question = Question::of(&search)?;
    if caller == Caller::Local && question.vector.is_none() {
        question = question.embedded(tools.genome.embedding()).await?;
    }
    let sketch = question.sketch();
    let found = tools.genome.find(question).await?;
    let Found { hits, ranked_by, searched } = found;
    let mut reply = SearchReply { hits, ranked_by, searched, nodes_asked: 0, nodes_answered: 0 };
    if caller == Caller::Local && search.local != Some(true) {
        let asked = Search {
            space: sketch.map(|(space, _)| space),
            sketch: sketch.map(|(_, sketch)| sketch),
            vector: None,
            limit: Some(ASKED_HITS),
            local: None,
            ..search.clone()
        };
        ask_others(&tools, &asked, search.limit(), &mut reply).await?;
    }
    Ok(reply)
}

/// Asks nodes whose catalogs differ from this one, the nearest first, and fuses their orders with this node's.
async fn ask_others(tools: &Tools, search: &Search, limit: usize, reply: &mut SearchReply) -> Result<(), Failure> {
    let own = tools.genome.summary();
    let mut others: Vec<(u8, DestinationHash)> = tools
        .core
        .paths()
        .await?
        .into_iter()
        .filter_map(|view| {
            let catalog = view.peer?.data.catalog()?;
            (catalog.count > 0 && catalog.root != own.root).then_some((view.path.hops, view.path.destination))
        })
        .collect();
    others.sort_unstable();
    others.truncate(ASKED_MAX);
    let mut answers = tokio::task::JoinSet::new();
    for (_, destination) in &others {
        let (mesh, destination, search) = (tools.mesh.clone(), *destination, search.clone());
        answers.spawn(async move {
            let call = Call::new(fresh_id(), &search, u32::try_from(ASKED_PATIENCE.as_secs()).unwrap_or(u32::MAX));
            let answer = mesh.execute(destination, &call, ASKED_PATIENCE, None).await?;
            Ok::<_, Failure>((destination, answer.reply.result::<SearchReply>()?))
        });
    }
    reply.nodes_asked = u16::try_from(others.len()).unwrap_or(u16::MAX);
    let mut orders = vec![std::mem::take(&mut reply.hits)];
    while let Some(answered) = answers.join_next().await {
        match answered {
            Ok(Ok((destination, mut theirs))) => {
                reply.nodes_answered += 1;
                theirs.hits.truncate(usize::from(ASKED_HITS));
                for hit in &mut theirs.hits {
                    hit.held_by = Some(hit.held_by.unwrap_or(destination));
                }
                orders.push(theirs.hits);
            }
            Ok(Err(failure)) => tracing::debug!(%failure, "no answer to a search"),
            Err(error) => tracing::error!(%error, "a search broke off"),
        }
        control::report("nodes asked", u64::from(reply.nodes_answered), u64::from(reply.nodes_asked));
    }
    reply.hits = fuse(orders, limit);
    Ok(())
}

/// Orders of different nodes are fused by place, for their scores mean different things. A hit keeps the score of the
/// first order it stands in.
fn fuse(orders: Vec<Vec<Hit>>, limit: usize) -> Vec<Hit> {
    if orders.iter().filter(|order| !order.is_empty()).count() <= 1 {
        let mut hits: Vec<Hit> = orders.into_iter().flatten().collect();
        hits.truncate(limit);
        return hits;
    }
    let mut fused: BTreeMap<EntryId, (f64, Hit)> = BTreeMap::new();
    for order in orders {
        for (place, hit) in (1_u32..).zip(order) {
            let weight = 1.0 / (FUSION + f64::from(place));
            fused.entry(hit.entry).and_modify(|(sum, _)| *sum += weight).or_insert((weight, hit));
        }
    }
    let mut hits: Vec<(f64, Hit)> = fused.into_values().collect();
    hits.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.entry.cmp(&other.entry)));
    hits.into_iter().map(|(_, hit)| hit).take(limit).collect()
}

async fn give_manifest(tools: Tools, asked: Manifest) -> Result<ManifestReply, Failure> {
    tools.genome.manifest(asked.wanted()?).await
}

async fn answer_sync(tools: Tools, caller: Caller, step: Sync) -> Result<SyncReply, Failure> {
    let Caller::Remote { identity, .. } = caller else {
        return Err(Failure::invalid("this command is a node's part of a dialogue; use genome/catalog-sync"));
    };
    let payload = tools.genome.answer_sync(identity, step.payload.0).await?;
    Ok(SyncReply { payload: Blob(payload) })
}

async fn publish_path(tools: Tools, publish: Publish) -> Result<PublishReply, Failure> {
    let path = PathBuf::from(publish.path);
    if !path.is_absolute() {
        return Err(Failure::invalid("parameter `path` must be absolute: the node does not know where you stand"));
    }
    tools.genome.publish(path).await
}

async fn show_entry(tools: Tools, show: Show) -> Result<ShowReply, Failure> {
    let entry = tools.genome.entry(show.entry).await?;
    if entry.reply.manifest_verified {
        return Ok(entry.reply);
    }
    let id = entry.reply.entry;
    let holder = match &show.node {
        Some(node) => tools.other(node).await?,
        None if entry.reply.own => {
            let name = entry.reply.name;
            let detail =
                format!("{name} was published here, but its manifest is gone from this disk: publish it again");
            return Err(Failure::new(Code::UNAVAILABLE, detail));
        }
        // Whoever published it holds its manifest, and a node's destination follows from its identity.
        None => node_name().of(entry.reply.publisher),
    };
    let call = Call::new(fresh_id(), &Manifest::of(Wanted::Entry(id)), 0);
    control::report(format!("fetching the manifest from {holder}"), 0, 0);
    let answer = tools.mesh.execute(holder, &call, patience(None), arriving("bytes of the manifest")).await?;
    let fetched: ManifestReply = match answer.reply.result() {
        Ok(fetched) => fetched,
        Err(failure) => return Err(tools.says(holder, &Manifest::NAME, failure).await),
    };
    let mut kept = tools.genome.keep(id, fetched).await?.reply;
    kept.fetched_from = Some(holder);
    Ok(kept)
}

async fn list(tools: Tools, asked: Catalog) -> Result<CatalogReply, Failure> {
    let limit = asked.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    tools.genome.list(asked.kind, limit).await
}

async fn sync_with(tools: Tools, asked: CatalogSync) -> Result<CatalogSyncReply, Failure> {
    let started = Instant::now();
    let to = tools.other(&asked.node).await?;
    // What the other announced may be old, and somebody who asks wants to know: so the first question is only whether
    // there is a difference, in some fifty bytes.
    control::report(format!("waiting for {to}"), 0, 0);
    let outcome = sync::with(to, None, Limits::default(), patience(asked.deadline_s), &tools.mesh, &tools.genome).await;
    let outcome = match outcome {
        Err(failure) if failure.code == Code::DENIED => return Err(tools.says(to, &Sync::NAME, failure).await),
        other => other?,
    };
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(CatalogSyncReply {
        destination: to,
        name: tools.core.node(to).await?.name,
        received: count(outcome.received),
        sent: count(outcome.sent),
        rounds: u32::try_from(outcome.traffic.requests).unwrap_or(u32::MAX),
        card_bytes: outcome.traffic.cards,
        key_bytes: outcome.traffic.keys,
        sync_bytes: outcome.traffic.other,
        elapsed_ms: millis(started.elapsed()),
        equal: outcome.equal,
        catalog_count: tools.genome.summary().count,
    })
}

#[cfg(test)]
mod tests {
    use wend_packet::IdentityHash;

    use super::*;

    fn hit(id: u8) -> Hit {
        Hit {
            entry: EntryId::new([id; 16]),
            name: String::new(),
            kind: "lora".into(),
            publisher: IdentityHash::new([0; 16]),
            score: f64::from(id),
            description: String::new(),
            held_by: None,
        }
    }

    fn ids(hits: &[Hit]) -> Vec<u8> {
        hits.iter().map(|hit| hit.entry.as_bytes()[0]).collect()
    }

    #[test]
    fn what_several_nodes_rank_high_comes_first_and_nothing_comes_twice() {
        let fused = fuse(vec![vec![hit(1), hit(2)], vec![hit(2), hit(3)]], 10);
        assert_eq!(ids(&fused), [2, 1, 3]);
    }

    #[test]
    fn one_order_alone_stays_as_it_is() {
        assert_eq!(ids(&fuse(vec![vec![hit(9), hit(1)], vec![]], 10)), [9, 1]);
        assert_eq!(ids(&fuse(vec![vec![hit(9), hit(1)]], 1)), [9]);
    }
}
