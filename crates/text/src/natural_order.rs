//! The order in which people expect names with numbers: 198.51.100.9 before 198.51.100.10.

use std::cmp::Ordering;

/// Compares two names, runs of digits by their value and everything else by its bytes. Names that differ in nothing but leading
/// zeros are told apart by these. A total order.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let (in_a, in_b) = (number(left), number(right));
        if in_a > 0 && in_b > 0 {
            let (x, rest_a) = left.split_at(in_a);
            let (y, rest_b) = right.split_at(in_b);
            let (x, y) = (without_zeros(x), without_zeros(y));
            // Of two numbers the one with more digits is greater.
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
            (left, right) = (rest_a, rest_b);
            continue;
        }
        match (left.split_first(), right.split_first()) {
            (Some((x, rest_a)), Some((y, rest_b))) if x == y => (left, right) = (rest_a, rest_b),
            (Some((x, _)), Some((y, _))) => return x.cmp(y),
            (None, None) => return a.cmp(b),
            (rest_a, rest_b) => return rest_a.is_some().cmp(&rest_b.is_some()),
        }
    }
}

/// The digits at the start.
fn number(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_count_by_their_value_and_text_by_its_bytes() {
        let mut names = [
            "198.51.100.10",
            "web-b",
            "198.51.100.9",
            "web-2",
            "web-10",
            "web",
            "198.51.100.9:/var/log/a",
            "web-02",
            "99999999999999999999999",
            "100000000000000000000000",
        ];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            [
                "198.51.100.9",
                "198.51.100.9:/var/log/a",
                "198.51.100.10",
                "99999999999999999999999",
                "100000000000000000000000",
                "web",
                "web-02",
                "web-2",
                "web-10",
                "web-b",
            ]
        );
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(names in proptest::collection::vec("[ab01.]{0,6}", 3)) {
            let [a, b, c] = [&names[0], &names[1], &names[2]];
            prop_assert_eq!(natural_order(a, b), natural_order(b, a).reverse());
            prop_assert_eq!(natural_order(a, b).is_eq(), a == b);
            if natural_order(a, b).is_le() && natural_order(b, c).is_le() {
                prop_assert!(natural_order(a, c).is_le());
            }
        }
    }
}
