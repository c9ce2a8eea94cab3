//! What holds for any model and any text.

use lb_net::config::parse;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::models::{model, two_models};

proptest! {
    #[test]
    fn any_model_prints_and_loads_back_equal(model in model()) {
        let text = model.to_toml();
        let loaded = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        prop_assert_eq!(&loaded.model, &model, "{}", text);
        prop_assert_eq!(loaded.model.to_toml(), text);
    }

    #[test]
    fn models_are_different_exactly_when_they_are_not_equal((one, other) in two_models()) {
        prop_assert_eq!(one.difference(&other).is_empty(), one == other);
        prop_assert_eq!(one.difference(&other).changes().len() > 0, !other.difference(&one).is_empty());
        prop_assert!(one.difference(&one.clone()).is_empty());
    }

    #[test]
    fn no_input_panics(text in prop_oneof![nearly(), ".{0,200}", "[\\[\\]{}=\"a-z.\n]{0,80}"]) {
        match parse(&text) {
            Ok(loaded) => prop_assert_eq!(parse(&loaded.model.to_toml()).unwrap().model, loaded.model),
            Err(problems) => prop_assert!(!problems.to_string().is_empty() && problems.count() > 0),
        }
    }
}

/// Files that are nearly good: the interesting ones.
fn nearly() -> impl Strategy<Value = String> {
    let examples = [include_str!("../../../examples/lb.toml"), include_str!("../../../examples/http.toml")];
    let change = (any::<prop::sample::Index>(), 0_usize..20, "[\\[\\]{}=\"'a-z0-9.,%!: \n\u{1}é-]{0,6}");
    (select(examples.to_vec()), vec(change, 0..6)).prop_map(move |(example, changes)| {
        let mut text: Vec<char> = example.chars().collect();
        for (at, width, new) in changes {
            let at = at.index(text.len());
            let end = (at + width).min(text.len());
            text.splice(at..end, new.chars());
        }
        text.into_iter().collect()
    })
}
