//! This node's own links to others: one for each destination, shared by all calls, closed when idle.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wend_packet::stack::RequestError;
use wend_packet::time::Instant;
use wend_packet::{DestinationHash, LinkId, RequestId};

use super::calls::{Arriving, LinkFailure, OwnLink, RequestFailure, tell};

/// How long a link stays open that nobody uses: opening one costs some 500 bytes, keeping it a few bytes in a minute.
pub(super) const IDLE: Duration = Duration::from_secs(120);

type Waiting = Vec<oneshot::Sender<Result<OwnLink, LinkFailure>>>;

#[derive(Debug)]
enum State {
    Opening(Waiting),
    Open { rtt: Duration, used: Instant },
}

#[derive(Debug)]
struct Entry {
    link: LinkId,
    state: State,
}

#[derive(Debug)]
struct Pending {
    link: LinkId,
    reply: oneshot::Sender<Result<Bytes, RequestFailure>>,
    arriving: Option<mpsc::Sender<Arriving>>,
}

/// The links this node opened and the requests it waits for. The stack bounds both.
#[derive(Debug, Default)]
pub(super) struct OwnLinks {
    by_destination: BTreeMap<DestinationHash, Entry>,
    pending: BTreeMap<RequestId, Pending>,
}

/// What has to be done for someone who wants a link.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Nothing: it was told, or will be.
    Handled,
    /// A link has to be opened.
    Open(oneshot::Sender<Result<OwnLink, LinkFailure>>),
}

impl OwnLinks {
    /// Somebody wants a link to `to`.
    pub(super) fn want(
        &mut self,
        now: Instant,
        to: DestinationHash,
        reply: oneshot::Sender<Result<OwnLink, LinkFailure>>,
    ) -> Wanted {
        match self.by_destination.get_mut(&to) {
            None => return Wanted::Open(reply),
            Some(Entry { state: State::Opening(waiting), .. }) => waiting.push(reply),
            Some(Entry { link, state: State::Open { rtt, used } }) => {
                *used = now;
                // The caller may have gone; the link stays for the next.
                tell(reply, Ok(OwnLink { link: *link, reused: true, rtt: *rtt }));
            }
        }
        Wanted::Handled
    }

    /// A link request went out for somebody.
    pub(super) fn opening(
        &mut self,
        to: DestinationHash,
        link: LinkId,
        reply: oneshot::Sender<Result<OwnLink, LinkFailure>>,
    ) {
        self.by_destination.insert(to, Entry { link, state: State::Opening(vec![reply]) });
    }

    /// A link is active: whoever waited is told. Says when to look whether it is idle.
    pub(super) fn up(&mut self, now: Instant, to: DestinationHash, link: LinkId, rtt: Duration) -> Option<Instant> {
        let entry = self.by_destination.get_mut(&to).filter(|entry| entry.link == link)?;
        let State::Opening(waiting) = std::mem::replace(&mut entry.state, State::Open { rtt, used: now }) else {
            return None;
        };
        for reply in waiting {
            tell(reply, Ok(OwnLink { link, reused: false, rtt }));
        }
        Some(now + IDLE)
    }

    /// A link is gone: whoever waited for it is told. Requests on it are answered by events of their own.
    pub(super) fn down(&mut self, link: LinkId) {
        let gone = self.by_destination.extract_if(.., |_, entry| entry.link == link);
        for (_, entry) in gone {
            if let State::Opening(waiting) = entry.state {
                for reply in waiting {
                    tell(reply, Err(LinkFailure::NoAnswer));
                }
            }
        }
    }

    /// A request went out.
    pub(super) fn requested(
        &mut self,
        now: Instant,
        link: LinkId,
        request: RequestId,
        reply: oneshot::Sender<Result<Bytes, RequestFailure>>,
        arriving: Option<mpsc::Sender<Arriving>>,
    ) {
        self.touch(now, link);
        self.pending.insert(request, Pending { link, reply, arriving });
    }

    /// Part of a response has arrived.
    pub(super) fn arriving(&mut self, request: RequestId, so_far: Arriving) {
        if let Some(Pending { arriving: Some(sink), .. }) = self.pending.get(&request) {
            // Only the newest figure matters, so a full channel loses nothing.
            let _ = sink.try_send(so_far);
        }
    }

    /// A request is over.
    pub(super) fn responded(&mut self, now: Instant, request: RequestId, response: Result<Bytes, RequestError>) {
        if let Some(Pending { link, reply, .. }) = self.pending.remove(&request) {
            self.touch(now, link);
            tell(reply, response.map_err(RequestFailure::from));
        }
    }

    fn touch(&mut self, now: Instant, link: LinkId) {
        if let Some(Entry { state: State::Open { used, .. }, .. }) =
            self.by_destination.values_mut().find(|entry| entry.link == link)
        {
            *used = now;
        }
    }

    /// Whether the link to `to` is to be closed now, or when to look again.
    pub(super) fn idle(&mut self, now: Instant, to: DestinationHash) -> Result<LinkId, Option<Instant>> {
        let Some(Entry { link, state: State::Open { used, .. } }) = self.by_destination.get(&to) else {
            return Err(None);
        };
        let busy = self.pending.values().any(|pending| pending.link == *link);
        let until = *used + IDLE;
        match busy {
            true => Err(Some(now + IDLE)),
            false if until > now => Err(Some(until)),
            false => Ok(*link),
        }
    }

    /// All links that are open or being opened.
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.by_destination.values().map(|entry| entry.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: DestinationHash = DestinationHash::new([1; 16]);
    const LINK: LinkId = LinkId::new([2; 16]);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn opened(links: &mut OwnLinks) -> oneshot::Receiver<Result<OwnLink, LinkFailure>> {
        let (reply, answer) = oneshot::channel();
        let Wanted::Open(reply) = links.want(at(0), TO, reply) else { panic!("there is no link yet") };
        links.opening(TO, LINK, reply);
        answer
    }

    #[test]
    fn two_who_want_the_same_link_share_it() {
        let mut links = OwnLinks::default();
        let mut first = opened(&mut links);
        let (reply, mut second) = oneshot::channel();
        assert!(matches!(links.want(at(1), TO, reply), Wanted::Handled));
        links.up(at(2), TO, LINK, Duration::from_millis(300));
        assert!(!first.try_recv().expect("told").expect("open").reused);
        assert_eq!(second.try_recv().expect("told").expect("open").link, LINK);
        let (reply, mut third) = oneshot::channel();
        assert!(matches!(links.want(at(3), TO, reply), Wanted::Handled));
        assert!(third.try_recv().expect("told").expect("open").reused);
    }

    #[test]
    fn who_waits_for_a_link_that_fails_is_told() {
        let mut links = OwnLinks::default();
        let mut answer = opened(&mut links);
        links.down(LINK);
        assert_eq!(answer.try_recv().expect("told"), Err(LinkFailure::NoAnswer));
        let (reply, _answer) = oneshot::channel();
        assert!(matches!(links.want(at(9), TO, reply), Wanted::Open(_)), "the next one opens a new link");
    }

    #[test]
    fn a_link_is_idle_only_when_nobody_used_it_and_nobody_waits_on_it() {
        let mut links = OwnLinks::default();
        drop(opened(&mut links));
        let look = links.up(at(0), TO, LINK, Duration::ZERO).expect("just opened");
        let (reply, _answer) = oneshot::channel();
        links.requested(at(10), LINK, RequestId::new([3; 16]), reply, None);
        assert!(matches!(links.idle(look, TO), Err(Some(_))), "a request is out");
        links.responded(at(130), RequestId::new([3; 16]), Err(RequestError::Timeout));
        assert_eq!(links.idle(at(140), TO), Err(Some(at(250))));
        assert_eq!(links.idle(at(250), TO), Ok(LINK));
    }
}
