//! Places in a manual order: texts between any two of which there is always another one (fractional indexing), so that
//! moving one item writes one row. Compared byte for byte.

use fractional_index::FractionalIndex;

/// Bytes of the place that a number stands for: enough for 1,000,000,000,000 items of an organization.
const NUMBER_BYTES: usize = 5;

/// The place of an item that was never moved: items are in the order of their numbers. The schema's job makes the same of
/// a number (`db::ranks`).
pub fn of_number(number: i64) -> String {
    let bytes = number.max(0).to_be_bytes();
    let mut place = bytes[bytes.len() - NUMBER_BYTES..].to_vec();
    place.push(0x80);
    FractionalIndex::from_bytes(place).unwrap_or_default().to_string()
}

/// A place between two others; `None` where the first is not before the second, or one is no place. Without a lower one it
/// is before the upper one.
pub fn between(lower: Option<&str>, upper: &str) -> Option<String> {
    let upper = FractionalIndex::from_string(upper).ok()?;
    let place = match lower {
        None => FractionalIndex::new_before(&upper),
        Some(lower) => FractionalIndex::new_between(&FractionalIndex::from_string(lower).ok()?, &upper)?,
    };
    Some(place.to_string())
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
    use super::*;

    #[test]
    fn places_follow_the_numbers_and_leave_room_between() {
        for number in [0, 1, 9, 10, 127, 128, 255, 256, 65_535, 1_000_000_000] {
            let (here, next) = (of_number(number), of_number(number + 1));
            assert!(here < next, "{number}");
            let middle = between(Some(&here), &next).expect("room");
            assert!(here < middle && middle < next, "{number}: {middle}");
            let before = between(None, &here).expect("room");
            assert!(before < here, "{number}: {before}");
        }
        assert_eq!(of_number(42), "000000002a80");
        assert_eq!(between(Some("80"), "80"), None);
        assert_eq!(between(Some("no place"), "80"), None);
    }

    #[test]
    fn many_moves_to_one_place_keep_their_order_and_grow_slowly() {
        let (lower, mut upper) = (of_number(1), of_number(2));
        for _ in 0..1_000 {
            let next = between(Some(&lower), &upper).expect("room");
            assert!(lower < next && next < upper);
            upper = next;
        }
        assert!(upper.len() < 64, "{upper}");
    }

    #[test]
    fn places_are_spread_in_order() {
        let places = spread(Some(&of_number(1)), &of_number(2), 100).expect("room");
        assert_eq!(places.len(), 100);
        assert!(places.is_sorted() && places.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(places.iter().all(|place| place.len() <= 32), "{places:?}");
        assert!(*places.first().expect("some") > of_number(1) && *places.last().expect("some") < of_number(2));
    }
}
