//! `node/blackhole…`: who is shut out.

use std::time::Duration;

use wend_commands::builtin::blackhole::{Add, AddReply, Entry, List, ListReply, Remove, RemoveReply};
use wend_commands::{Caller, Code, Duplicate, Failure, Registry};
use wend_packet::management::{Blackholed, REASON_MAX};

use super::Tools;
use crate::node::blackhole::BlackholeError;
use crate::node::calls::{BlackholeChange, BlackholeState};
use crate::node::clock::unix_now;

pub(super) fn register(registry: &mut Registry, tools: &Tools) -> Result<(), Duplicate> {
    let with = tools.clone();
    registry.register(move |_: Caller, _: List| list(with.clone()))?;
    let with = tools.clone();
    registry.register(move |_: Caller, asked: Add| add(with.clone(), asked))?;
    let with = tools.clone();
    registry.register(move |_: Caller, asked: Remove| remove(with.clone(), asked))
}

impl From<BlackholeError> for Failure {
    fn from(error: BlackholeError) -> Self {
        match error {
            BlackholeError::Stopped(stopped) => stopped.into(),
            BlackholeError::Store(error) => {
                Self::new(Code::INTERNAL, format!("it counts until the node stops, but is not kept: {error}"))
            }
        }
    }
}

async fn list(tools: Tools) -> Result<ListReply, Failure> {
    let state = tools.shutting_out.change(BlackholeChange::Look).await?;
    Ok(ListReply { entries: entries(&state) })
}

fn entries(state: &BlackholeState) -> Vec<Entry> {
    let entries = state.entries.iter().map(|(identity, entry)| Entry {
        identity: *identity,
        source: entry.source,
        own: entry.source == state.own,
        until: entry.until,
        reason: entry.reason.clone(),
    });
    entries.collect()
}

async fn add(tools: Tools, asked: Add) -> Result<AddReply, Failure> {
    if asked.reason.as_ref().is_some_and(|reason| reason.len() > REASON_MAX) {
        return Err(Failure::invalid(format!("parameter `reason` is longer than {REASON_MAX} bytes")));
    }
    if asked.hours == Some(0) {
        return Err(Failure::invalid("parameter `hours` is 0: give at least 1, or leave it out"));
    }
    let identity = asked.identity;
    let until = asked.hours.map(|hours| unix_now().plus(Duration::from_secs(u64::from(hours) * 3600)));
    let change = BlackholeChange::Add { identity, until, reason: asked.reason };
    let state = tools.shutting_out.change(change).await?;
    let added = match state.outcome {
        Some(Blackholed::Added) => true,
        Some(Blackholed::Own) => return Err(Failure::invalid("that is an identity of this node itself")),
        Some(Blackholed::Full) => {
            let entries = state.entries.len();
            let detail = format!("the list is full: {entries} entries, all by this node; remove one first");
            return Err(Failure::new(Code::UNAVAILABLE, detail));
        }
        Some(Blackholed::Already | Blackholed::Expired) | None => false,
    };
    Ok(AddReply { identity, added })
}

async fn remove(tools: Tools, asked: Remove) -> Result<RemoveReply, Failure> {
    let state = tools.shutting_out.change(BlackholeChange::Remove(asked.identity)).await?;
    Ok(RemoveReply { identity: asked.identity, removed: state.removed })
}
