//! The word that was meant.

/// The candidate that is most like a word, if two letters at most are wrong.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate)).min();
    near.filter(|(steps, _)| *steps <= 2).map(|(_, candidate)| candidate)
}

/// How many letters must be added, left out or changed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, a) in one.chars().take(32).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, b) in other.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        let rows = [
            ("connect", "connect", 0),
            ("conect", "connect", 1),
            ("", "rise", 4),
            ("fall", "", 4),
            ("rsie", "rise", 2),
        ];
        for (one, other, steps) in rows {
            assert_eq!(distance(one, other), steps, "{one} {other}");
        }
    }
}
