//! Vectors in memory, one byte a dimension, compared one by one.
//!
//! A hundred thousand vectors of 384 dimensions are 39 MB. `scripts/search-quality` measures how long
//! a comparison with them takes, and what is lost against four bytes a dimension.

use std::collections::BinaryHeap;

/// A row of the table and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The row's id.
    pub id: i64,
    /// Cosine of the angle to the query: 1 is equal.
    pub score: f32,
}

/// Vectors with their ids.
#[derive(Debug, Default)]
pub struct VectorTable {
    dimensions: usize,
    ids: Vec<i64>,
    scales: Vec<f32>,
    values: Vec<i8>,
}

impl VectorTable {
    /// An empty table for vectors of this length.
    pub fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            ..Self::default()
        }
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds a vector.
    pub fn push(&mut self, id: i64, vector: &[f32]) {
        let packed = pack(vector);
        self.push_packed(id, &packed);
    }

    /// Adds a vector as [`pack`] made it; one of another length is passed over.
    pub(crate) fn push_packed(&mut self, id: i64, packed: &[u8]) {
        let Some((scale, values)) = packed.split_first_chunk::<4>() else {
            return;
        };
        if values.len() != self.dimensions {
            return;
        }
        self.ids.push(id);
        self.scales.push(f32::from_le_bytes(*scale));
        self.values
            .extend(values.iter().map(|&byte| byte.cast_signed()));
    }

    /// The nearest vectors, nearest first.
    pub fn nearest(&self, query: &[f32], limit: usize) -> Vec<Scored> {
        if limit == 0 || query.len() != self.dimensions || self.dimensions == 0 {
            return Vec::new();
        }
        let (query_scale, query) = quantized(query);
        let query: Vec<i16> = query.into_iter().map(i16::from).collect();
        let mut best: BinaryHeap<Worst> = BinaryHeap::with_capacity(limit + 1);
        let rows = self.values.chunks_exact(self.dimensions);
        for ((row, &scale), &id) in rows.zip(&self.scales).zip(&self.ids) {
            let score = dot(row, &query) as f32 * scale * query_scale;
            if best.len() < limit || best.peek().is_some_and(|worst| score > worst.0.score) {
                best.push(Worst(Scored { id, score }));
                if best.len() > limit {
                    best.pop();
                }
            }
        }
        best.into_sorted_vec()
            .into_iter()
            .map(|worst| worst.0)
            .collect()
    }
}

/// A vector as it is stored: its scale, then one byte a dimension.
pub(crate) fn pack(vector: &[f32]) -> Vec<u8> {
    let (scale, values) = quantized(vector);
    let mut packed = scale.to_le_bytes().to_vec();
    packed.extend(values.into_iter().map(i8::cast_unsigned));
    packed
}

fn quantized(vector: &[f32]) -> (f32, Vec<i8>) {
    let largest = vector
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return (0.0, vec![0; vector.len()]);
    }
    let scale = largest / 127.0;
    let values = vector.iter().map(|value| (value / scale).round() as i8);
    (scale, values.collect())
}

/// Written so that the compiler makes vector instructions of it.
fn dot(row: &[i8], query: &[i16]) -> i32 {
    row.iter()
        .zip(query)
        .map(|(&a, &b)| i32::from(i16::from(a)) * i32::from(b))
        .sum()
}

/// The heap's top is the worst of the best.
struct Worst(Scored);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_score = other.0.score.total_cmp(&self.0.score);
        by_score.then(self.0.id.cmp(&other.0.id))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Worst {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(vector: &[f32]) -> Vec<f32> {
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
        vector.iter().map(|x| x / norm).collect()
    }

    #[test]
    fn the_nearest_come_first() {
        let mut table = VectorTable::new(2);
        for (id, degrees) in [(1, 90.0_f32), (2, 10.0), (3, 45.0), (4, 180.0)] {
            table.push(
                id,
                &[degrees.to_radians().cos(), degrees.to_radians().sin()],
            );
        }
        let found = table.nearest(&[1.0, 0.0], 3);
        assert_eq!(
            found.iter().map(|hit| hit.id).collect::<Vec<_>>(),
            [2, 3, 1]
        );
        assert!((found[0].score - 10.0_f32.to_radians().cos()).abs() < 0.01);
    }

    #[test]
    fn odd_input_finds_nothing_and_breaks_nothing() {
        let mut table = VectorTable::new(3);
        table.push(1, &[0.0, 0.0, 0.0]);
        table.push(2, &[f32::NAN, 1.0, f32::INFINITY]);
        table.push_packed(3, b"short");
        assert_eq!(table.len(), 2);
        assert!(table.nearest(&[1.0], 5).is_empty());
        assert!(table.nearest(&[1.0, 0.0, 0.0], 0).is_empty());
        assert_eq!(table.nearest(&[1.0, 0.0, 0.0], 5).len(), 2);
    }

    proptest! {
        #[test]
        fn a_byte_a_dimension_is_near_enough(
            a in proptest::collection::vec(-1.0_f32..1.0, 32),
            b in proptest::collection::vec(-1.0_f32..1.0, 32),
        ) {
            let (a, b) = (unit(&a), unit(&b));
            let exact: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            let mut table = VectorTable::new(32);
            table.push(7, &a);
            let found = table.nearest(&b, 1)[0];
            prop_assert!((found.score - exact).abs() < 0.03, "{} {exact}", found.score);
        }
    }
}
