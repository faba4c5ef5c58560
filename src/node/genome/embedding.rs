//! The embedder of this node: found when it is first needed, run in a child process, let go when idle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wend_commands::{Code, Failure};
use wend_genome::embed::{ChildCommand, ChildEmbedder, Limits, embed_one};
use wend_genome::entry::{DIMS, SpaceId};
use wend_genome::model::{self, Model};

/// How long a node without a model waits before it looks for one again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What is known of the model. Held for a moment only: nobody waits who wants to know.
#[derive(Debug)]
enum State {
    Unknown,
    /// There is one, as far as a glance shows.
    Seen,
    Missing {
        since: Instant,
        why: String,
    },
    Ready(Arc<ChildEmbedder>),
}

/// Finds and shares the embedder; cheap to clone. Its calls block, but for [`Embedding::model_name`] and
/// [`Embedding::end`]: make them from a blocking task.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    chosen: Option<PathBuf>,
    home: PathBuf,
    state: Arc<Mutex<State>>,
    /// Held while the files of a model are hashed, which takes seconds: once is enough.
    finding: Arc<Mutex<()>>,
}

impl Embedding {
    /// The embedder of the model in `chosen`, or in the usual places of the node with this home.
    pub(crate) fn new(chosen: Option<PathBuf>, home: PathBuf) -> Self {
        Self { chosen, home, state: Arc::new(Mutex::new(State::Unknown)), finding: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known already: an embedder, or that there was none a moment ago.
    fn known(&self) -> Option<Result<Arc<ChildEmbedder>, String>> {
        match &*self.state() {
            State::Ready(embedder) => Some(Ok(Arc::clone(embedder))),
            State::Missing { since, why } if since.elapsed() < LOOK_AGAIN => Some(Err(why.clone())),
            _ => None,
        }
    }

    /// The embedder, or why there is none. A model that is installed while the node runs is found.
    pub(crate) fn embedder(&self) -> Result<Arc<ChildEmbedder>, String> {
        if !cfg!(feature = "embeddings") {
            return Err("this build has no embedder".to_owned());
        }
        if let Some(known) = self.known() {
            return known;
        }
        let _finding = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have found it in the meantime.
        if let Some(known) = self.known() {
            return known;
        }
        let found = Model::find(self.chosen.as_deref(), &self.home).map_err(|error| error.to_string());
        let ready = found.and_then(|model| {
            let command = ChildCommand::this_binary(model.folder()).map_err(|error| error.to_string())?;
            Ok(Arc::new(ChildEmbedder::new(command, model.space(), Limits::default())))
        });
        *self.state() = match &ready {
            Ok(embedder) => State::Ready(Arc::clone(embedder)),
            Err(why) => State::Missing { since: Instant::now(), why: why.clone() },
        };
        ready
    }

    /// Sees whether a model is there, without reading it or loading anything, so that [`Embedding::model_name`] is true
    /// before the first text is embedded.
    pub(crate) fn glance(&self) {
        if !cfg!(feature = "embeddings") || matches!(&*self.state(), State::Ready(_)) {
            return;
        }
        let seen = Model::glance(self.chosen.as_deref(), &self.home);
        let mut state = self.state();
        match (&*state, seen) {
            (State::Unknown, Ok(())) => *state = State::Seen,
            (State::Seen, Err(_)) => *state = State::Unknown,
            // Who looked closer knows better.
            _ => {}
        }
    }

    /// The vector of a text and its space.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn embed(&self, text: &str) -> Result<(SpaceId, Box<[f32; DIMS]>), String> {
        let embedder = self.embedder()?;
        let vector = embed_one(&*embedder, text).map_err(|error| error.to_string())?;
        Ok((wend_genome::embed::Embedder::space(&*embedder), Box::new(vector)))
    }

    /// The name of the model, when there is one.
    pub(crate) fn model_name(&self) -> Option<&'static str> {
        matches!(&*self.state(), State::Seen | State::Ready(_)).then_some(model::NAME)
    }

    /// Ends the child, if it runs.
    pub(crate) fn end(&self) {
        let embedder = match &*self.state() {
            State::Ready(embedder) => Arc::clone(embedder),
            _ => return,
        };
        embedder.end();
    }
}

/// Runs something that blocks beside the tasks of the node.
pub(super) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(run).await.map_err(|_| Failure::new(Code::INTERNAL, "the work was broken off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_the_name_does_not_wait_for_a_model_to_be_hashed() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let embedding = Embedding::new(Some(home.path().to_owned()), home.path().to_owned());
        let _hashing = embedding.finding.lock();
        assert_eq!(embedding.model_name(), None);
        embedding.glance();
        embedding.end();
        assert_eq!(embedding.model_name(), None);
    }
}
