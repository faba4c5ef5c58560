//! The head of a model card: the few kinds of lines between two `---` that people and tools write there.
//!
//! Read are `key: value`, `key: [a, b]`, and `key:` with lines `- item` under it; quotes around a value are taken off.
//! Whatever is nested deeper is passed over. This is no YAML, and is not meant to become it.

use std::collections::BTreeMap;

/// The most keys, and the most items of a list, that are kept.
const ITEMS_MAX: usize = 128;

/// A README: its head and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Readme<'a> {
    /// The values of each key.
    pub(super) head: BTreeMap<&'a str, Vec<&'a str>>,
    /// The text after the head.
    pub(super) body: &'a str,
}

impl<'a> Readme<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Some((first, rest)) = text.split_once('\n').filter(|(first, _)| first.trim_end() == "---") else {
            return Self { head: BTreeMap::new(), body: text };
        };
        let mut head: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut open = None;
        let mut at = first.len() + 1;
        for line in rest.split_inclusive('\n') {
            at += line.len();
            let line = line.trim_end();
            if line == "---" {
                return Self { head, body: text.get(at..).unwrap_or_default() };
            }
            if let Some(item) = line.trim_start().strip_prefix("- ") {
                if let Some(items) = open.and_then(|key| head.get_mut(key))
                    && items.len() < ITEMS_MAX
                {
                    items.extend(value(item));
                }
            } else if let Some((key, after)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t', '#'])) {
                // A list may follow only where no value does.
                open = after.trim().is_empty().then_some(key);
                if head.len() < ITEMS_MAX {
                    head.insert(key, values(after));
                }
            } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                open = None;
            }
        }
        // The head never ends: then it is none.
        Self { head: BTreeMap::new(), body: text }
    }

    /// The only value of a key.
    pub(super) fn one(&self, key: &str) -> Option<&'a str> {
        self.head.get(key)?.first().copied()
    }

    /// The values of a key.
    pub(super) fn all(&self, key: &str) -> &[&'a str] {
        self.head.get(key).map_or(&[], Vec::as_slice)
    }

    /// The first paragraph that is text: no heading, table, picture, list, quotation or code.
    pub(super) fn first_paragraph(&self) -> Option<String> {
        let mut in_code = false;
        let mut paragraph: Vec<&str> = Vec::new();
        for line in self.body.lines().map(str::trim) {
            let fence = line.starts_with("```");
            in_code ^= fence;
            let text =
                !in_code && !fence && !line.is_empty() && !line.starts_with(['#', '|', '!', '<', '>', '-', '*', '[']);
            if text {
                paragraph.push(line);
            } else if !paragraph.is_empty() {
                break;
            }
        }
        (!paragraph.is_empty()).then(|| paragraph.join(" "))
    }
}

fn values(text: &str) -> Vec<&str> {
    match text.trim().strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        Some(list) => list.split(',').filter_map(value).take(ITEMS_MAX).collect(),
        None => value(text).into_iter().collect(),
    }
}

/// A value without quotes and without a comment behind it.
fn value(text: &str) -> Option<&str> {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some((quoted, _)) = text.strip_prefix(quote).and_then(|text| text.split_once(quote)) {
            return (!quoted.is_empty()).then_some(quoted);
        }
    }
    let text = text.split(" #").next().unwrap_or_default().trim();
    (!text.is_empty() && text != "null" && text != "~").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_head_is_read() {
        let text = "---\nlicense: \"apache-2.0\"  \nlanguage:\n- en\n  - 'de'\ntags: [a, \"b c\", ]\nbase_model: Q/w # why\n\
            model-index:\n  - name: x\n    results: 3\n---\n# Title\n\n| a |\n\nDoes this\nand that.\n\nMore.\n";
        let readme = Readme::read(text);
        assert_eq!((readme.one("license"), readme.one("base_model")), (Some("apache-2.0"), Some("Q/w")));
        assert_eq!((readme.all("language"), readme.all("tags")), (&["en", "de"][..], &["a", "b c"][..]));
        assert_eq!(readme.one("results"), None);
        assert_eq!(readme.first_paragraph().as_deref(), Some("Does this and that."));
    }

    #[test]
    fn without_a_head_all_is_body() {
        for text in ["", "Hello.", "---\nlicense: mit\n", "text\n---\na: b\n---\n"] {
            assert_eq!(Readme::read(text), Readme { head: BTreeMap::new(), body: text }, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(---\n)?[-a:\\[\\]\"' #\n,`|]{0,80}") {
            let readme = Readme::read(&text);
            let _ = (readme.first_paragraph(), readme.one("a"), readme.all("a"));
        }
    }
}
