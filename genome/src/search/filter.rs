//! Hard conditions of a search: what does not meet them is never ranked.

use crate::class::{BaseModelKey, LanguageClass, LicenceClass};
use crate::entry::Kind;

/// The facts of an entry that a search can be narrowed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facets {
    /// What it is.
    pub kind: Kind,
    /// Key of the base model.
    pub base_model: BaseModelKey,
    /// Licence class of the card.
    pub licence: LicenceClass,
    /// Language class of the card.
    pub language: LanguageClass,
    /// What only the manifest says; `None` when nothing but the card is known.
    pub details: Option<Details>,
}

/// The facts that the card has no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// SPDX expression or `LicenseRef-`.
    pub licence: Box<str>,
    /// BCP 47 tags.
    pub languages: Box<[Box<str>]>,
}

/// Conditions, all of which must hold. The default lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only entries of this kind.
    pub kind: Option<Kind>,
    /// Only entries for the base model with this key.
    pub base_model: Option<BaseModelKey>,
    /// Only entries under this licence.
    pub licence: Option<Wanted<LicenceClass>>,
    /// Only entries for this language.
    pub language: Option<Wanted<LanguageClass>>,
}

/// A condition on something that cards carry as a class and manifests in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<C> {
    /// The class it falls into: all that can be asked of an entry known only by its card.
    pub class: C,
    /// The full form, compared without regard to case; `None` asks for the class alone.
    pub exact: Option<Box<str>>,
}

impl Wanted<LicenceClass> {
    /// The licence with this SPDX id.
    pub fn licence(spdx: &str) -> Self {
        Self { class: LicenceClass::of_spdx(spdx), exact: Some(spdx.into()) }
    }

    fn admits(&self, facets: &Facets) -> bool {
        match (&self.exact, &facets.details) {
            (Some(exact), Some(details)) => details.licence.eq_ignore_ascii_case(exact),
            _ => self.class == facets.licence,
        }
    }
}

impl Wanted<LanguageClass> {
    /// The language with this BCP 47 tag; entries for a region of it are for it too.
    pub fn language(tag: &str) -> Self {
        Self { class: LanguageClass::of_tags(&[tag]), exact: Some(tag.into()) }
    }

    fn admits(&self, facets: &Facets) -> bool {
        match (&self.exact, &facets.details) {
            (Some(exact), Some(details)) => details.languages.iter().any(|tag| is_or_within(tag, exact)),
            _ => self.class == facets.language || facets.language == LanguageClass::ANY,
        }
    }
}

fn is_or_within(tag: &str, wanted: &str) -> bool {
    let head = tag.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted));
    head && (tag.len() == wanted.len() || tag.get(wanted.len()..).is_some_and(|rest| rest.starts_with('-')))
}

impl Filter {
    /// Whether there is no condition at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry meets every condition. Of an entry known only by its card, licence and language are compared by
    /// class, so it may still turn out not to fit once its manifest is read.
    pub fn admits(&self, facets: &Facets) -> bool {
        self.kind.is_none_or(|kind| kind == facets.kind)
            && self.base_model.is_none_or(|key| key == facets.base_model)
            && self.licence.as_ref().is_none_or(|wanted| wanted.admits(facets))
            && self.language.as_ref().is_none_or(|wanted| wanted.admits(facets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swedish_lora() -> Facets {
        Facets {
            kind: Kind::LORA,
            base_model: BaseModelKey::of_id("Qwen2.5-1.5B"),
            licence: LicenceClass::of_spdx("MIT"),
            language: LanguageClass::of_tags(&["sv-SE"]),
            details: Some(Details { licence: "MIT".into(), languages: ["sv-SE".into(), "en".into()].into() }),
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let facets = swedish_lora();
        assert!(Filter::default().admits(&facets) && Filter::default().is_empty());
        let base_model = Some(BaseModelKey::of_id("qwen2.5-1.5b"));
        let right = Filter { kind: Some(Kind::LORA), base_model, ..Filter::default() };
        assert!(right.admits(&facets) && !right.is_empty());
        assert!(!Filter { base_model: Some(BaseModelKey::of_id("gemma-2-2b")), ..right.clone() }.admits(&facets));
        assert!(!Filter { kind: Some(Kind::SERVICE), ..right }.admits(&facets));
    }

    #[test]
    fn a_manifest_answers_exactly_and_a_card_by_class() {
        let full = swedish_lora();
        let card = Facets { details: None, ..swedish_lora() };
        let apache = Filter { licence: Some(Wanted::licence("Apache-2.0")), ..Filter::default() };
        assert!(!apache.admits(&full) && apache.admits(&card));
        let english = Filter { language: Some(Wanted::language("EN")), ..Filter::default() };
        assert!(english.admits(&full) && !english.admits(&card));
        assert!(english.admits(&Facets { language: LanguageClass::ANY, ..card.clone() }));
        let swedish = Filter { language: Some(Wanted::language("sv")), ..Filter::default() };
        assert!(swedish.admits(&full) && swedish.admits(&card));
        let any = Wanted { class: LicenceClass::PERMISSIVE, exact: None };
        assert!(Filter { licence: Some(any), ..Filter::default() }.admits(&full));
    }

    #[test]
    fn a_language_holds_its_regions_and_nothing_that_only_begins_like_it() {
        assert!(is_or_within("de-CH", "de") && is_or_within("DE", "de"));
        assert!(!is_or_within("den", "de") && !is_or_within("d", "de") && !is_or_within("dé", "de"));
    }
}
