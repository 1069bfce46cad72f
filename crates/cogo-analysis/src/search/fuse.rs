//! One order out of several: reciprocal rank fusion.

use std::collections::HashMap;

/// Damps the weight of the first ranks; 60 is the constant of the method's authors.
const DAMPING: f64 = 60.0;

/// Joins orders of ids, best first, each with its weight. An id counts by its ranks alone, since
/// scores of different methods cannot be compared.
pub fn fuse(orders: &[(&[i64], f64)]) -> Vec<(i64, f64)> {
    let mut scores: HashMap<i64, f64> = HashMap::new();
    for (order, weight) in orders {
        for (rank, &id) in order.iter().enumerate() {
            *scores.entry(id).or_default() += weight / (DAMPING + 1.0 + rank as f64);
        }
    }
    let mut fused: Vec<(i64, f64)> = scores.into_iter().collect();
    fused.sort_by(|(a, first), (b, second)| second.total_cmp(first).then(a.cmp(b)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_orders_know_comes_first() {
        let fused = fuse(&[(&[1, 2, 3], 1.0), (&[4, 3], 1.0)]);
        let ids: Vec<i64> = fused.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [3, 1, 4, 2]);
    }

    #[test]
    fn weight_decides_between_orders() {
        assert_eq!(fuse(&[(&[1], 1.0), (&[2], 2.0)])[0].0, 2);
        assert!(fuse(&[]).is_empty());
    }
}
