//! What somebody who mistyped a name probably meant.

/// The candidate nearest to `typed`, if one is near: at most a third of its letters differ, or it contains `typed` (of at
/// least three letters) as a whole.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name from a peer may be anything: what is far longer than any of our names is like none of them.
    if typed.len() > 80 {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::damerau_levenshtein(typed, candidate);
            let near = distance * 3 <= candidate.chars().count();
            let part = typed.len() >= 3 && candidate.contains(typed);
            (near || part).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?` for the end of a message, empty when nothing is near.
pub fn suggestion<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, candidates).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let known = ["genome/search", "genome/show", "node/info", "node/ping"];
        assert_eq!(nearest("genome/serach", known), Some("genome/search"));
        assert_eq!(nearest("info", known), Some("node/info"));
        assert_eq!(nearest("weather/today", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
        assert_eq!(suggestion("node/pin", known), "; did you mean `node/ping`?");
    }
}
