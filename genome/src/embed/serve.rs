//! The embedder's own process: what the hidden subcommand `embed-child` runs.

use std::io::{self, Read, Write};
use std::path::Path;

use super::frame::{self, Answer};
use super::{EmbedError, Embedder, MiniLm};
use crate::entry::DIMS;
use crate::model::Model;

/// Loads the model in `folder` and answers texts until `texts` ends, which it does when the parent is gone. What goes
/// wrong with the model or a text is told to the parent; an error here means that the parent cannot be talked to.
pub fn serve(folder: &Path, mut texts: impl Read, mut answers: impl Write) -> io::Result<()> {
    let loaded = Model::open(folder).map_err(|error| EmbedError::Refused { detail: error.to_string() });
    let model = match loaded.and_then(|model| MiniLm::load(&model)) {
        Ok(model) => model,
        Err(error) => return frame::write(&mut answers, &Answer::Refused(error.to_string()).encode()),
    };
    let dims = u16::try_from(DIMS).unwrap_or(u16::MAX);
    frame::write(&mut answers, &Answer::Ready { space: model.space(), dims }.encode())?;
    while let Some(text) = frame::read(&mut texts)? {
        let mut row = Vec::with_capacity(DIMS);
        let answer = match std::str::from_utf8(&text) {
            Ok(text) => model
                .embed(&[text], &mut row)
                .map_or_else(|error| Answer::Refused(error.to_string()), |()| Answer::Vector(row)),
            Err(_) => Answer::Refused("the text is not UTF-8".to_owned()),
        };
        frame::write(&mut answers, &answer.encode())?;
    }
    Ok(())
}
