//! One full round of smooth weighted turns.
//!
//! The rule is nginx's (commit 52327e0627f4): at each turn every backend's credit grows by its weight, the one with
//! most credit (the first, of equals) takes the turn and pays the sum of all weights. Weights 5, 1, 1 give a a b a c a
//! a. After a sum of weights' turns the credits are where they began, so one round is all there is to know.

/// More turns than this are no table but a walk over shares.
const MOST_TURNS: u64 = 1 << 16;
/// Work to make a table; beyond it the walk is the better choice too.
const MOST_STEPS: u64 = 1 << 22;

/// Backends of one weight take their turns one after the other, so only the next of each weight can be due.
struct Class {
    weight: i64,
    slots: Vec<u32>,
    next: usize,
    rounds: i64,
}

impl Class {
    fn credit(&self, turn: i64, total: i64) -> i64 {
        self.weight * turn - total * self.rounds
    }

    fn take(&mut self) -> u32 {
        let slot = self.slots[self.next];
        self.next = (self.next + 1) % self.slots.len();
        self.rounds += i64::from(self.next == 0);
        slot
    }
}

/// The slots in the order of their turns, or nothing where a round would be too long.
pub(super) fn smooth(weights: &[(usize, u32)]) -> Option<Box<[u32]>> {
    let divisor = weights.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let total: u64 = weights.iter().map(|(_, weight)| u64::from(weight / divisor)).sum();
    let mut classes: Vec<Class> = Vec::new();
    for (slot, weight) in weights {
        let (slot, weight) = (*slot as u32, i64::from(weight / divisor));
        let known = classes.len() as u64;
        match classes.iter_mut().find(|class| class.weight == weight) {
            Some(class) => class.slots.push(slot),
            None if total.saturating_mul(known + 1) > MOST_STEPS => return None,
            None => classes.push(Class { weight, slots: vec![slot], next: 0, rounds: 0 }),
        }
    }
    if total > MOST_TURNS {
        return None;
    }
    let mut due = |turn: u64| {
        let credit = |class: &Class| class.credit(turn as i64, total as i64);
        let first = |class: &Class| std::cmp::Reverse(class.slots[class.next]);
        classes.iter_mut().max_by_key(|class| (credit(class), first(class))).map(Class::take)
    };
    (1..=total).map(&mut due).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(weights: &[u32]) -> String {
        let weights: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
        smooth(&weights).unwrap().iter().map(|slot| char::from(b'a' + *slot as u8)).collect()
    }

    #[test]
    fn orders_worked_out_by_hand_from_the_rule() {
        // Credits after adding, for 4 2 1: 4 2 1 -> a; 1 4 2 -> b; 5 -1 3 -> a; 2 1 4 -> c; 6 3 -2 -> a; 3 5 -1 -> b;
        // 7 0 0 -> a.
        assert_eq!(order(&[4, 2, 1]), "abacaba");
        assert_eq!(order(&[5, 1, 1]), "aabacaa");
        assert_eq!(order(&[1, 1, 1]), "abc");
        assert_eq!(order(&[2, 2]), "ab", "only the proportion counts");
        // 3 2: 3 2 -> a; 1 4 -> b; 4 1 -> a; 2 3 -> b; 5 0 -> a.
        assert_eq!(order(&[3, 2]), "ababa");
        // 1 2 2: 1 2 2 -> b; 2 -1 4 -> c; 3 1 1 -> a; -1 3 3 -> b; 0 0 5 -> c.
        assert_eq!(order(&[1, 2, 2]), "bcabc");
    }

    /// The rule itself, step by step.
    fn plain(weights: &[u32]) -> Vec<u32> {
        let total: i64 = weights.iter().map(|w| i64::from(*w)).sum();
        let mut credits = vec![0; weights.len()];
        let turn = |_| {
            credits.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += i64::from(*weight));
            let most = credits.iter().copied().max().unwrap();
            let slot = credits.iter().position(|credit| *credit == most).unwrap();
            credits[slot] -= total;
            slot as u32
        };
        (0..total).map(turn).collect()
    }

    proptest::proptest! {
        #[test]
        fn classes_of_weights_change_nothing(weights in proptest::collection::vec(1..40_u32, 1..12)) {
            let divisor = weights.iter().fold(0, |d, w| gcd(d, *w));
            let reduced: Vec<u32> = weights.iter().map(|w| w / divisor).collect();
            let slots: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
            proptest::prop_assert_eq!(smooth(&slots).unwrap().to_vec(), plain(&reduced));
        }
    }

    #[test]
    fn what_would_be_too_long_is_no_table() {
        let steep: Vec<(usize, u32)> = (0..10_000).map(|slot| (slot, 1 + slot as u32 % 977)).collect();
        assert!(smooth(&steep).is_none());
        assert_eq!(smooth(&[]).map(|turns| turns.len()), Some(0));
    }
}
