//! How a call and its reply travel: docs/protocol/mesh.md, "Commands".
//!
//! Both are the data of a Reticulum request to [`PATH`] and of its response. The same bytes go over the control socket.

use core::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::command::Command;
use crate::failure::{Code, Failure};
use crate::msgpack::{Head, Limits, Malformed, Scanner};
use crate::name::CommandName;
use crate::octets::MessageId;
use crate::value::{self, InvalidValue, Value};

/// The request path that calls go to.
pub const PATH: &str = "/wend/execute";

/// The version this crate speaks.
pub const VERSION: u64 = 1;

/// Longest call or reply, in bytes.
pub const MAX_LEN: usize = 1 << 20;

/// What the parameters of a call may be made of.
pub const CALL_LIMITS: Limits = Limits { depth: 16, values: 20_000 };

/// Why bytes are not a call or reply that anybody could answer. They are ignored and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ignored {
    /// Of a version that is not known here.
    #[error("version {0} is not known")]
    Version(u64),
    /// Longer than [`MAX_LEN`].
    #[error("{len} bytes, at most {MAX_LEN} are accepted")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Not a call or reply at all.
    #[error("not a call or reply: {0}")]
    Malformed(#[from] Malformed),
}

/// Why there is no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// There is nobody to tell.
    #[error(transparent)]
    Ignored(#[from] Ignored),
    /// The call has an id, so that its caller, if it identified, can be told what is wrong.
    #[error("{0}")]
    Refused(Failure, MessageId),
}

/// A command on its way to whoever runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What the reply will carry; a call that is sent again keeps it.
    pub id: MessageId,
    /// Which command.
    pub name: CommandName,
    /// Its parameters: one MessagePack value, a map or nil.
    pub params: Bytes,
    /// How long the caller will wait, in seconds. 0 leaves it to whoever runs the command.
    pub deadline_s: u32,
    /// A grant: one MessagePack value. None is accepted yet: a call that carries one is refused as invalid.
    pub grant: Option<Bytes>,
}

impl Call {
    /// A call of `command`.
    pub fn new<C: Command>(id: MessageId, command: &C, deadline_s: u32) -> Self {
        Self { id, name: C::NAME, params: value::encode(command).into(), deadline_s, grant: None }
    }

    /// A call by name, with parameters of any shape.
    pub fn untyped(id: MessageId, name: CommandName, params: &Value, deadline_s: u32) -> Self {
        Self { id, name, params: params.to_msgpack().into(), deadline_s, grant: None }
    }

    /// How long the caller will wait, `default` when it left that open.
    pub fn deadline(&self, default: Duration) -> Duration {
        if self.deadline_s == 0 { default } else { Duration::from_secs(u64::from(self.deadline_s)) }
    }

    /// `[1, id, name, params, deadline s, grant or nil]`.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![0x96, 0x01];
        put(&mut out, &self.id);
        put(&mut out, &self.name);
        out.extend_from_slice(&self.params);
        put(&mut out, &self.deadline_s);
        out.extend_from_slice(self.grant.as_deref().unwrap_or(&[0xc0]));
        out.into()
    }

    /// Reads a call. What follows it is ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidCall> {
        let mut scanner = open(bytes, CALL_LIMITS, 6)?;
        let id = MessageId::new(scanner.bin("an id of 16 bytes").map_err(Ignored::from)?);
        let refuse = |detail: String| InvalidCall::Refused(Failure::invalid(detail), id);
        let mut rest = || {
            let name = scanner.str("the name of a command")?;
            let params = scanner.value()?;
            let deadline = scanner.unsigned("a deadline in whole seconds")?;
            Ok((name, params, deadline, scanner.value()?))
        };
        let (name, params, deadline, grant) = rest().map_err(|error: Malformed| refuse(error.to_string()))?;
        Ok(Self {
            id,
            name: name.parse().map_err(|error: crate::name::InvalidName| refuse(error.to_string()))?,
            params: Bytes::copy_from_slice(params),
            deadline_s: u32::try_from(deadline).map_err(|_| refuse("a deadline of at most 136 years".to_owned()))?,
            grant: (grant != [0xc0]).then(|| Bytes::copy_from_slice(grant)),
        })
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The id of the call.
    pub id: MessageId,
    /// The result: one MessagePack value; or why there is none.
    pub outcome: Result<Bytes, Failure>,
}

impl Reply {
    /// A reply with the result of a command.
    pub fn new<C: Command>(id: MessageId, outcome: Result<&C::Reply, Failure>) -> Self {
        Self { id, outcome: outcome.map(|reply| value::encode(reply).into()) }
    }

    /// A reply that says why there is no result.
    pub fn failed(id: MessageId, failure: Failure) -> Self {
        Self { id, outcome: Err(failure) }
    }

    /// The result as the reply type of a command. A result of another shape is a failure of the node that sent it.
    pub fn result<R: DeserializeOwned>(&self) -> Result<R, Failure> {
        let bytes = self.outcome.as_ref().map_err(Clone::clone)?;
        rmp_serde::from_slice(bytes).map_err(|error| mismatch(&InvalidValue::from(error)))
    }

    /// The result as it is.
    pub fn value(&self) -> Result<Value, Failure> {
        let bytes = self.outcome.as_ref().map_err(Clone::clone)?;
        Value::from_msgpack(bytes).map_err(|error| mismatch(&error))
    }

    /// `[1, id, 0, result]` or `[1, id, code, {"detail": text}]`.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![0x94, 0x01];
        put(&mut out, &self.id);
        match &self.outcome {
            Ok(result) => {
                out.push(0);
                out.extend_from_slice(result);
            }
            Err(Failure { code, detail }) => {
                put(&mut out, &code.number());
                put(&mut out, &Value::Map(vec![("detail".into(), detail.as_str().into())]));
            }
        }
        out.into()
    }

    /// Reads a reply. What follows it is ignored. The detail of a failure is optional: a code is enough.
    pub fn decode(bytes: &[u8]) -> Result<Self, Ignored> {
        let mut scanner = open(bytes, Value::LIMITS, 4)?;
        let id = MessageId::new(scanner.bin("an id of 16 bytes")?);
        let status = scanner.unsigned("a status")?;
        let status = u8::try_from(status).map_err(|_| Malformed::Expected("a status of at most 255"))?;
        let value = scanner.value()?;
        let outcome = match Code::from_number(status) {
            None => Ok(Bytes::copy_from_slice(value)),
            Some(code) => Err(Failure::new(code, detail(value).unwrap_or_default())),
        };
        Ok(Self { id, outcome })
    }
}

fn mismatch(error: &InvalidValue) -> Failure {
    Failure::internal(format!("the reply is not what this command gives: {error}"))
}

/// The text under `detail` of a map that was walked before.
fn detail(value: &[u8]) -> Option<&str> {
    let mut scanner = Scanner::new(value, Value::LIMITS);
    let Ok(Head::Map(len)) = scanner.head() else { return None };
    for _ in 0..len {
        let is_detail = scanner.value().ok()? == b"\xa6detail";
        let start = scanner.clone();
        scanner.value().ok()?;
        if is_detail {
            return start.clone().str("a detail").ok();
        }
    }
    None
}

/// A scanner behind the version of an array of `len` elements.
fn open(bytes: &[u8], limits: Limits, len: u32) -> Result<Scanner<'_>, Ignored> {
    if bytes.len() > MAX_LEN {
        return Err(Ignored::TooLong { len: bytes.len() });
    }
    // The envelope itself counts too.
    let limits = Limits { depth: limits.depth, values: limits.values.saturating_add(8) };
    let mut scanner = Scanner::new(bytes, limits);
    let Head::Array(elements) = scanner.head()? else {
        return Err(Malformed::Expected("an array").into());
    };
    match scanner.unsigned("a version")? {
        VERSION if elements == len => Ok(scanner),
        VERSION => Err(Malformed::Expected("an array of the length of this version").into()),
        other => Err(Ignored::Version(other)),
    }
}

fn put<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    out.extend_from_slice(&value::encode(value));
}

#[cfg(test)]
mod tests;
