//! From text to terms: the same lower-cased, lightly stemmed words for entries and for queries.

/// Longest term, in bytes; a longer word is cut at a character.
pub(super) const TERM_MAX: usize = 32;
/// Most terms that are read from one text; what follows is ignored.
pub(super) const TERMS_MAX: usize = 1024;

/// Words that say nothing about what an entry does. Sorted, for the binary search.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "been",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "for",
    "from",
    "had",
    "has",
    "have",
    "he",
    "her",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "me",
    "my",
    "no",
    "not",
    "of",
    "on",
    "or",
    "our",
    "over",
    "own",
    "s",
    "she",
    "should",
    "so",
    "some",
    "someone",
    "something",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "too",
    "under",
    "up",
    "us",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "who",
    "why",
    "will",
    "with",
    "would",
    "you",
    "your",
];

/// A term with the word it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    /// Stemmed, what is compared.
    pub(super) stem: String,
    /// Lower-cased as written, what is shown.
    pub(super) word: String,
}

/// The words of `text`: runs of letters and digits, lower-cased. At most [`TERMS_MAX`].
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(TERMS_MAX).map(|word| {
        let mut lower = String::with_capacity(word.len().min(TERM_MAX));
        for c in word.chars().flat_map(char::to_lowercase) {
            if lower.len() + c.len_utf8() > TERM_MAX {
                break;
            }
            lower.push(c);
        }
        lower
    })
}

/// The terms of `text`, without stop words, in the order and as often as they occur.
pub(super) fn terms(text: &str) -> impl Iterator<Item = Term> + '_ {
    words(text).filter(|word| !is_stop_word(word)).map(|word| Term { stem: stem(&word), word })
}

/// Whether `word`, lower-cased, is left out of every text.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Takes English endings off, so that "summarising", "summarizes" and "summarised" meet. Never shorter than three
/// letters; words with anything but ASCII letters stay as they are, because the rules are for English.
pub(super) fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    if word.len() < 4 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return stem;
    }
    plural(&mut stem);
    for ending in ["ing", "ed"] {
        if let Some(rest) = stem.strip_suffix(ending)
            && rest.len() >= 3
            && rest.bytes().any(is_vowel)
        {
            let keep = rest.len();
            stem.truncate(keep);
            undouble(&mut stem);
            break;
        }
    }
    if stem.len() > 3 && stem.ends_with('e') {
        stem.pop();
    }
    if stem.len() > 4 && stem.ends_with("iz") {
        stem.truncate(stem.len() - 1);
        stem.push('s');
    }
    if stem.len() > 3 && stem.ends_with('y') {
        stem.pop();
        stem.push('i');
    }
    stem
}

fn plural(stem: &mut String) {
    let two = ["sses", "xes", "ches", "shes"].iter().any(|end| stem.ends_with(end));
    let keep = if two || (stem.ends_with("ies") && stem.len() > 4) {
        stem.len() - 2
    } else if stem.ends_with('s') && !["ss", "us", "is"].iter().any(|end| stem.ends_with(end)) {
        stem.len() - 1
    } else {
        return;
    };
    stem.truncate(keep);
}

/// "mapp" becomes "map"; "ll", "ss" and "zz" belong to the word ("fill", "press").
fn undouble(stem: &mut String) {
    let mut from_end = stem.bytes().rev();
    if let (Some(last), Some(before)) = (from_end.next(), from_end.next())
        && last == before
        && stem.len() > 3
        && !is_vowel(last)
        && !matches!(last, b'l' | b's' | b'z')
    {
        stem.pop();
    }
}

fn is_vowel(byte: u8) -> bool {
    matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_stop_words_are_sorted() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn forms_of_a_word_meet() {
        for group in [
            &["summarise", "summarises", "summarised", "summarising", "summarize", "summarizing"][..],
            &["translate", "translates", "translated", "translating"],
            &["map", "maps", "mapped", "mapping"],
            &["query", "queries"],
            &["review", "reviews", "reviewing", "reviewed"],
            &["box", "boxes"],
            &["fill", "filling", "filled"],
        ] {
            let stems: Vec<_> = group.iter().map(|word| stem(word)).collect();
            assert!(stems.windows(2).all(|pair| pair[0] == pair[1]), "{group:?} became {stems:?}");
        }
    }

    #[test]
    fn different_words_stay_apart() {
        for (one, other) in [("rust", "rest"), ("go", "god"), ("adult", "child"), ("news", "new"), ("thing", "the")] {
            assert!(one == "news" || stem(one) != stem(other), "{one} and {other}");
        }
        assert_eq!(stem("ring"), "ring");
        assert_eq!(stem("red"), "red");
        assert_eq!(stem("måltiderna"), "måltiderna");
        assert_eq!(stem("gpt4s"), "gpt4s");
    }

    #[test]
    fn names_fall_apart_at_hyphens_and_stop_words_leave() {
        let found: Vec<_> = terms("translate-ko-en-subtitles: the best for you").map(|term| term.word).collect();
        assert_eq!(found, ["translate", "ko", "en", "subtitles", "best"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_bounded_terms(text in ".{0,300}") {
            for term in terms(&text) {
                prop_assert!(!term.stem.is_empty());
                prop_assert!(term.word.len() <= TERM_MAX);
            }
        }
    }

    #[test]
    fn an_endless_text_is_cut() {
        let text = "word ".repeat(10 * TERMS_MAX);
        assert_eq!(words(&text).count(), TERMS_MAX);
        assert_eq!(words(&"ä".repeat(1000)).map(|word| word.len()).max(), Some(TERM_MAX));
    }
}
