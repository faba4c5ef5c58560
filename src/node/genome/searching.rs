//! From a command to a ranked answer.

use wend_commands::builtin::genome as commands;
use wend_commands::{Failure, Sketch as OutwardSketch, SpaceId as OutwardSpace};
use wend_genome::class::BaseModelKey;
use wend_genome::entry::{DIMS, Kind, QuantisedVector, Sketch, SpaceId};
use wend_genome::search::{Filter, QueryVector, Wanted};

use super::embedding::{Embedding, blocking};

/// A search, as the genome task takes it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(super) text: String,
    /// The meaning, when it is known.
    pub vector: Option<(SpaceId, QueryVector)>,
    pub(super) filter: Filter,
    pub(super) limit: usize,
    /// Why the order goes by words, when somebody may wonder.
    pub(super) why_words: Option<String>,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Best first.
    pub hits: Vec<commands::Hit>,
    /// What the order rests on.
    pub ranked_by: String,
    /// Entries that were looked at.
    pub searched: u32,
}

impl Question {
    /// What a command asks.
    ///
    /// # Errors
    /// When it names a kind that does not exist.
    pub(crate) fn of(search: &commands::Search) -> Result<Self, Failure> {
        let filter = Filter {
            kind: search.kind.as_deref().map(kind).transpose()?,
            base_model: search.base_model.as_deref().map(BaseModelKey::of_id),
            licence: search.licence.as_deref().map(Wanted::licence),
            language: search.language.as_deref().map(Wanted::language),
        };
        let vector = match (&search.vector, &search.sketch) {
            (Some(vector), _) => Some(QueryVector::Quantised(quantised(&vector.0)?)),
            (None, Some(sketch)) => Some(QueryVector::Sketch(Sketch(*sketch.as_bytes()))),
            (None, None) => None,
        };
        let space = search.space.map(|space| SpaceId(*space.as_bytes()));
        Ok(Self {
            text: search.text.clone(),
            vector: space.zip(vector),
            filter,
            limit: search.limit(),
            why_words: None,
        })
    }

    /// The same with the meaning of its text, where there is a model.
    ///
    /// # Errors
    /// When the work was broken off.
    pub(crate) async fn embedded(mut self, embedding: &Embedding) -> Result<Self, Failure> {
        let (embedding, text) = (embedding.clone(), self.text.clone());
        match blocking(move || embedding.embed(&text)).await? {
            Ok((space, vector)) => self.vector = Some((space, QueryVector::Exact(*vector))),
            Err(why) => self.why_words = Some(why),
        }
        Ok(self)
    }

    /// The short form of its meaning, to ask others with.
    pub(crate) fn sketch(&self) -> Option<(OutwardSpace, OutwardSketch)> {
        let (space, vector) = self.vector.as_ref()?;
        Some((OutwardSpace::new(space.0), OutwardSketch::new(vector.sketch().0)))
    }
}

/// A kind by its name.
pub(super) fn kind(name: &str) -> Result<Kind, Failure> {
    Kind::from_name(name).ok_or_else(|| {
        Failure::invalid(format!("there is no kind {name:?}; kinds are {}", Kind::PUBLISHABLE.join(", ")))
    })
}

/// The scale of a query does not change its order.
fn quantised(bytes: &[u8]) -> Result<QuantisedVector, Failure> {
    let values: [u8; DIMS] =
        bytes.try_into().map_err(|_| Failure::invalid(format!("parameter `vector` has not {DIMS} bytes")))?;
    Ok(QuantisedVector { scale: half::f16::ONE, values: values.map(u8::cast_signed) })
}
