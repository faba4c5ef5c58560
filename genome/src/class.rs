//! The one-byte classes of a card, for filters that need no manifest. docs/protocol/mesh.md, Classes.

use core::fmt;

use wend_packet::hash::sha256_head;

/// What a licence asks of people, from least to most. Values without a name here travel on unchanged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenceClass(pub u8);

impl LicenceClass {
    /// Not stated, or not in our list.
    pub const UNKNOWN: Self = Self(0);
    /// No conditions.
    pub const PUBLIC_DOMAIN: Self = Self(1);
    /// Keep the notice.
    pub const PERMISSIVE: Self = Self(2);
    /// Name the authors of data and texts.
    pub const ATTRIBUTION: Self = Self(3);
    /// Pass it on under the same terms.
    pub const SHARE_ALIKE: Self = Self(4);
    /// Not for money.
    pub const NON_COMMERCIAL: Self = Self(5);
    /// Terms of its own, or no changes allowed.
    pub const PROPRIETARY: Self = Self(6);

    const NAMES: [&'static str; 7] =
        ["unknown", "public domain", "permissive", "attribution", "share-alike", "non-commercial", "proprietary"];

    /// The class of an SPDX expression: of `A OR B` the freer one, of `A AND B` the stricter one. Parentheses are not read.
    pub fn of_spdx(expression: &str) -> Self {
        let strictest = |all: String| {
            let mut classes = split_word(&all, "and").map(Self::of_id);
            let first = classes.next().unwrap_or(Self::UNKNOWN);
            classes
                .fold(first, |one, other| if one.min(other) == Self::UNKNOWN { Self::UNKNOWN } else { one.max(other) })
        };
        split_word(expression, "or")
            .map(strictest)
            .filter(|class| *class != Self::UNKNOWN)
            .min()
            .unwrap_or(Self::UNKNOWN)
    }

    fn of_id(id: String) -> Self {
        let id = id.split(" with ").next().unwrap_or_default().trim();
        let id = id.strip_suffix('+').unwrap_or(id);
        let starts = |heads: &[&str]| heads.iter().any(|head| id.starts_with(head));
        if ["cc0-1.0", "unlicense", "pddl-1.0", "cc-pddc", "0bsd", "mit-0"].contains(&id) {
            Self::PUBLIC_DOMAIN
        } else if starts(&["cc-by-nc", "polyform-noncommercial"]) {
            Self::NON_COMMERCIAL
        } else if starts(&["licenseref-", "cc-by-nd", "busl-"]) {
            Self::PROPRIETARY
        } else if starts(&[
            "cc-by-sa-",
            "gpl-",
            "lgpl-",
            "agpl-",
            "mpl-",
            "eupl-",
            "odbl-",
            "cdla-sharing-",
            "epl-",
            "osl-",
        ]) {
            Self::SHARE_ALIKE
        } else if starts(&["cc-by-", "odc-by-"]) {
            Self::ATTRIBUTION
        } else if starts(&[
            "mit",
            "apache-",
            "bsd-",
            "isc",
            "zlib",
            "bsl-1.0",
            "unicode-",
            "bzip2-",
            "postgresql",
            "python-",
            "cdla-permissive-",
        ]) {
            Self::PERMISSIVE
        } else {
            Self::UNKNOWN
        }
    }
}

/// The parts of `text`, in lower case, between the words `word`.
fn split_word(text: &str, word: &str) -> impl Iterator<Item = String> {
    let mut parts = vec![String::new()];
    for next in text.split_whitespace() {
        let next = next.to_ascii_lowercase();
        if next == word {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(&next);
        }
    }
    parts.into_iter()
}

impl fmt::Display for LicenceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "licence class {}", self.0),
        }
    }
}

impl fmt::Debug for LicenceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The language of an entry: 0 for none in particular or several, else an index of a fixed list, 255 for one outside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanguageClass(pub u8);

/// The two-letter codes of ISO 639-1 in alphabetical order. An index is on the wire, so that entries are only ever added
/// at the end.
const LANGUAGES: &str = "\
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et \
    eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk \
    kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny \
    oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk \
    tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";

impl LanguageClass {
    /// No language in particular, or several.
    pub const ANY: Self = Self(0);
    /// One language that is not in the list.
    pub const OTHER: Self = Self(255);

    /// The class of a list of BCP 47 tags: of a single one its language, region and script left out; else any.
    pub fn of_tags<T: AsRef<str>>(tags: &[T]) -> Self {
        match tags {
            [tag] => Self::of_tag(tag.as_ref()),
            _ => Self::ANY,
        }
    }

    fn of_tag(tag: &str) -> Self {
        let language = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        if ["mul", "und", "zxx", ""].contains(&language.as_str()) {
            return Self::ANY;
        }
        let index = LANGUAGES.split_ascii_whitespace().position(|known| known == language);
        index.and_then(|index| u8::try_from(index + 1).ok()).map_or(Self::OTHER, Self)
    }

    /// The two-letter code; `None` for any, other and values outside the list.
    pub fn code(self) -> Option<&'static str> {
        LANGUAGES.split_ascii_whitespace().nth(usize::from(self.0).checked_sub(1)?)
    }
}

impl fmt::Debug for LanguageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.code()) {
            (Self::ANY, _) => f.write_str("any"),
            (_, Some(code)) => f.write_str(code),
            _ => write!(f, "language {}", self.0),
        }
    }
}

/// The size of an entry's files, as a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(pub u8);

impl SizeClass {
    /// The class of `len` bytes: how many bits the number needs, so 0 for no bytes, n for 2^(n-1) to 2^n - 1.
    pub fn of_len(len: u64) -> Self {
        Self(u8::try_from(u64::BITS - len.leading_zeros()).unwrap_or(u8::MAX))
    }
}

/// Which base model an entry is for: first 4 bytes of SHA-256 over its normalised id, zero when none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseModelKey(pub [u8; 4]);

impl BaseModelKey {
    /// No base model.
    pub const NONE: Self = Self([0; 4]);

    /// The key of a base model's id. An id that is empty once normalised is none.
    pub fn of_id(id: &str) -> Self {
        let id = normalise_base_model(id);
        if id.is_empty() { Self::NONE } else { Self(sha256_head(&[id.as_bytes()])) }
    }
}

impl fmt::Debug for BaseModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The form of a base model's id in which two people mean the same: without the organisation before the last `/`, ASCII
/// letters in lower case, each run of spaces and `_` as one `-`.
pub fn normalise_base_model(id: &str) -> String {
    let id = id.trim().trim_end_matches('/');
    let name = id.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    name.split([' ', '_']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_fall_into_classes() {
        for (id, class) in [
            ("CC0-1.0", LicenceClass::PUBLIC_DOMAIN),
            ("MIT", LicenceClass::PERMISSIVE),
            ("apache-2.0", LicenceClass::PERMISSIVE),
            ("CC-BY-4.0", LicenceClass::ATTRIBUTION),
            ("CC-BY-SA-4.0", LicenceClass::SHARE_ALIKE),
            ("ODbL-1.0", LicenceClass::SHARE_ALIKE),
            ("EUPL-1.2", LicenceClass::SHARE_ALIKE),
            ("GPL-2.0-only WITH Classpath-exception-2.0", LicenceClass::SHARE_ALIKE),
            ("CC-BY-NC-SA-4.0", LicenceClass::NON_COMMERCIAL),
            ("CC-BY-ND-4.0", LicenceClass::PROPRIETARY),
            ("LicenseRef-gemma", LicenceClass::PROPRIETARY),
            ("MIT OR Apache-2.0", LicenceClass::PERMISSIVE),
            ("GPL-3.0-only OR MIT", LicenceClass::PERMISSIVE),
            ("MIT AND CC-BY-4.0", LicenceClass::ATTRIBUTION),
            ("MIT AND Mystery-1.0", LicenceClass::UNKNOWN),
            ("Mystery-1.0", LicenceClass::UNKNOWN),
            ("", LicenceClass::UNKNOWN),
        ] {
            assert_eq!(LicenceClass::of_spdx(id), class, "{id}");
        }
    }

    #[test]
    fn one_language_has_a_class_and_several_are_any() {
        assert_eq!(LanguageClass::of_tags(&["en"]).code(), Some("en"));
        assert_eq!(LanguageClass::of_tags(&["pt-BR"]).code(), Some("pt"));
        assert_eq!(LanguageClass::of_tags(&["zh_Hans"]).code(), Some("zh"));
        assert_eq!(LanguageClass::of_tags(&["en", "de"]), LanguageClass::ANY);
        assert_eq!(LanguageClass::of_tags(&["mul"]), LanguageClass::ANY);
        assert_eq!(LanguageClass::of_tags::<&str>(&[]), LanguageClass::ANY);
        assert_eq!(LanguageClass::of_tags(&["grc"]), LanguageClass::OTHER);
    }

    #[test]
    fn the_list_of_languages_keeps_its_order() {
        // These numbers are on the wire.
        assert_eq!(LanguageClass::of_tags(&["aa"]), LanguageClass(1));
        assert_eq!(LanguageClass::of_tags(&["en"]), LanguageClass(37));
        assert_eq!(LanguageClass::of_tags(&["zu"]), LanguageClass(183));
        assert_eq!(LanguageClass(184).code(), None);
        let mut sorted: Vec<_> = LANGUAGES.split_ascii_whitespace().collect();
        sorted.dedup();
        assert!(sorted.is_sorted() && sorted.len() == 183);
    }

    #[test]
    fn sizes_are_powers_of_two() {
        for (len, class) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1 << 20, 21), (u64::MAX, 64)] {
            assert_eq!(SizeClass::of_len(len), SizeClass(class), "{len}");
        }
    }

    #[test]
    fn one_base_model_has_one_key_however_it_is_written() {
        let key = BaseModelKey::of_id("Qwen/Qwen2.5-0.5B");
        for same in ["Qwen2.5-0.5B", "qwen2.5_0.5b", " Qwen2.5  0.5B/ "] {
            assert_eq!(BaseModelKey::of_id(same), key, "{same}");
        }
        assert_ne!(BaseModelKey::of_id("Qwen2.5-0.5B-Instruct"), key);
        assert_eq!(BaseModelKey::of_id(" / "), BaseModelKey::NONE);
    }
}
