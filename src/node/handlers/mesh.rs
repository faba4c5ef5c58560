//! `mesh/…`: commands on other nodes.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use wend_commands::Command as _;
use wend_commands::builtin::mesh::{Execute, ExecuteReply, Ping, PingReply};
use wend_commands::builtin::node;
use wend_commands::{Blob, Call, Caller, Duplicate, Failure, Registry, Value};

use super::Tools;
use crate::control::{self, Progress, fresh_id};
use crate::node::calls::Arriving;
use crate::node::mesh::PATIENCE;

pub(super) fn register(registry: &mut Registry, tools: &Tools) -> Result<(), Duplicate> {
    let with = tools.clone();
    registry.register(move |_: Caller, execute: Execute| run(with.clone(), execute))?;
    let with = tools.clone();
    registry.register(move |_: Caller, ping: Ping| measure(with.clone(), ping))
}

pub(super) fn patience(deadline_s: Option<u32>) -> Duration {
    deadline_s.map_or(PATIENCE, |seconds| Duration::from_secs(u64::from(seconds.max(1))))
}

fn whole_seconds(patience: Duration) -> u32 {
    u32::try_from(patience.as_secs()).unwrap_or(u32::MAX)
}

/// Passes on how much of a reply has arrived, as progress of the running command.
pub(super) fn arriving(step: &str) -> Option<mpsc::Sender<Arriving>> {
    let reports = control::reporter()?;
    let (sender, mut receiver) = mpsc::channel::<Arriving>(4);
    let step = step.to_owned();
    tokio::spawn(async move {
        while let Some(Arriving { received, total }) = receiver.recv().await {
            let progress = Progress { step: step.clone(), done: received, total };
            drop(reports.try_send(progress));
        }
    });
    Some(sender)
}

async fn run(tools: Tools, execute: Execute) -> Result<ExecuteReply, Failure> {
    let started = Instant::now();
    let to = tools.other(&execute.node).await?;
    let patience = patience(execute.deadline_s);
    let params = execute.params.unwrap_or(Value::Nil);
    let command = execute.command;
    let call = Call::untyped(fresh_id(), command.clone(), &params, whole_seconds(patience));
    control::report(format!("waiting for {to}"), 0, 0);
    let answer = tools.mesh.execute(to, &call, patience, arriving("bytes of the reply")).await?;
    let value = match answer.reply.value() {
        Ok(value) => value,
        Err(failure) => return Err(tools.says(to, &command, failure).await),
    };
    Ok(ExecuteReply {
        destination: to,
        name: tools.core.node(to).await?.name,
        hops: answer.hops,
        elapsed_ms: millis(started.elapsed()),
        value,
    })
}

async fn measure(tools: Tools, ping: Ping) -> Result<PingReply, Failure> {
    let length = usize::from(ping.payload_bytes.unwrap_or_default());
    if length > node::Ping::MAX_PAYLOAD {
        let detail = format!("parameter `payload_bytes` is {length}, at most {} are sent", node::Ping::MAX_PAYLOAD);
        return Err(Failure::invalid(detail));
    }
    let started = Instant::now();
    let to = tools.other(&ping.node).await?;
    let patience = patience(ping.deadline_s);
    let payload = (length > 0).then(|| Blob(vec![0x55; length]));
    let call = Call::new(fresh_id(), &node::Ping { payload: payload.clone() }, whole_seconds(patience));
    control::report(format!("waiting for {to}"), 0, 0);
    let answer = tools.mesh.execute(to, &call, patience, None).await?;
    let elapsed = started.elapsed();
    let reply: node::PingReply = match answer.reply.result() {
        Ok(reply) => reply,
        Err(failure) => return Err(tools.says(to, &node::Ping::NAME, failure).await),
    };
    if reply.payload != payload {
        return Err(Failure::new(
            wend_commands::Code::INTERNAL,
            format!("{to} sent back something else than it was sent"),
        ));
    }
    let setup = elapsed.saturating_sub(answer.took);
    Ok(PingReply {
        destination: to,
        name: tools.core.node(to).await?.name,
        hops: answer.hops,
        setup_ms: if answer.reused { 0 } else { millis(setup) },
        round_trip_ms: millis(answer.took),
    })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
