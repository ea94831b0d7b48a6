//! Places in a manual order: texts between any two of which there is always another one (fractional indexing, as in
//! <https://observablehq.com/@dgreensp/implementing-fractional-indexing>), so that moving one item writes one row. Compared
//! byte for byte.

/// The digits of places, in the order of their bytes. No place ends with the first one: nothing would be before it.
const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The place of an item that was never moved: items are in the order of their numbers, of which an organization has a
/// million million at most. `db::ranks` makes the same of a number.
pub fn of_number(number: i64) -> String {
    format!("{:010x}V", number.max(0))
}

/// A place between two others; `None` where the first is not before the second, or one is no place. Without a lower one it
/// is before the upper one.
pub fn between(lower: Option<&str>, upper: &str) -> Option<String> {
    let lower = lower.map_or(Some(Vec::new()), digits)?;
    let upper = digits(upper)?;
    if lower >= upper {
        return None;
    }
    let place = middle(&lower, Some(&upper));
    Some(place.into_iter().map(|digit| char::from(DIGITS[digit])).collect())
}

fn digits(place: &str) -> Option<Vec<usize>> {
    let digits: Option<Vec<usize>> = place.bytes().map(|byte| DIGITS.iter().position(|digit| *digit == byte)).collect();
    digits.filter(|digits| digits.last().is_some_and(|last| *last != 0))
}

/// Digits between two places, of which the lower one may be empty, and the upper one missing: then up to the end.
fn middle(lower: &[usize], upper: Option<&[usize]>) -> Vec<usize> {
    let first = lower.first().copied().unwrap_or(0);
    if let Some(upper) = upper {
        // What both begin with; a lower one that is shorter goes on with zeros.
        let common = (0..upper.len()).take_while(|at| lower.get(*at).copied().unwrap_or(0) == upper[*at]).count();
        if common > 0 {
            let rest = lower.get(common..).unwrap_or_default();
            return [&upper[..common], &middle(rest, Some(&upper[common..]))].concat();
        }
    }
    let end = upper.map_or(DIGITS.len(), |upper| upper[0]);
    if end - first > 1 {
        return vec![(first + end).div_ceil(2)];
    }
    match upper {
        // Its first digit alone is before it.
        Some(upper) if upper.len() > 1 => vec![upper[0]],
        _ => [&[first], &middle(lower.get(1..).unwrap_or_default(), None)[..]].concat(),
    }
}

/// So many places between two others, in order, as short as they can be.
pub fn spread(lower: Option<&str>, upper: &str, count: usize) -> Option<Vec<String>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let middle = between(lower, upper)?;
    let mut places = spread(lower, &middle, count / 2)?;
    let after = spread(Some(&middle), upper, count - count / 2 - 1)?;
    places.push(middle);
    places.extend(after);
    Some(places)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn places_follow_the_numbers_and_leave_room_between() {
        for number in [0, 1, 9, 10, 15, 16, 127, 128, 255, 256, 65_535, 1_000_000_000] {
            let (here, next) = (of_number(number), of_number(number + 1));
            assert!(here < next, "{number}");
            let middle = between(Some(&here), &next).expect("room");
            assert!(here < middle && middle < next, "{number}: {middle}");
            let before = between(None, &here).expect("room");
            assert!(before < here, "{number}: {before}");
        }
        assert_eq!(of_number(42), "000000002aV");
        for (lower, upper) in [("V", "V"), ("W", "V"), ("no place", "z"), ("V", "W0"), ("", "V")] {
            assert_eq!(between(Some(lower), upper), None, "{lower} {upper}");
        }
    }

    /// Wherever the next one goes, there is room, and all stay in order.
    #[test]
    fn there_is_room_anywhere_for_ever() {
        for seed in 0..20 {
            let mut rng = Rng::with_seed(seed);
            let mut places: Vec<String> = (1..5).map(of_number).collect();
            for _ in 0..500 {
                let at = rng.usize(..places.len());
                let lower = at.checked_sub(1).map(|at| places[at].clone());
                let place = between(lower.as_deref(), &places[at]).expect("room");
                places.insert(at, place);
            }
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {places:#?}");
        }
    }

    #[test]
    fn many_moves_to_one_place_keep_their_order_and_grow_slowly() {
        for (lower, upper) in [(Some(of_number(1)), of_number(2)), (None, of_number(1))] {
            let mut upper = upper;
            for _ in 0..1_000 {
                let next = between(lower.as_deref(), &upper).expect("room");
                assert!(lower.as_ref().is_none_or(|lower| *lower < next) && next < upper);
                upper = next;
            }
            assert!(upper.len() < 220, "{upper}");
        }
    }

    #[test]
    fn places_are_spread_in_order() {
        let places = spread(Some(&of_number(1)), &of_number(2), 100).expect("room");
        assert_eq!(places.len(), 100);
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(places.iter().all(|place| place.len() <= 14), "{places:?}");
        assert!(*places.first().expect("some") > of_number(1) && *places.last().expect("some") < of_number(2));
    }
}
