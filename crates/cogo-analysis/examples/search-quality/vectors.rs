//! How long a comparison with a hundred thousand vectors takes, and what a byte a dimension costs.

use std::time::{Duration, Instant};

use cogo_analysis::search::VectorTable;

const VECTORS: usize = 100_000;
const QUERIES: usize = 500;
const NEAREST: usize = 10;

/// Prints both.
pub(crate) fn measure(dimensions: usize) {
    let mut random = Random(42);
    let vectors: Vec<Vec<f32>> = (0..VECTORS).map(|_| random.vector(dimensions)).collect();
    let mut table = VectorTable::new(dimensions);
    for (id, vector) in vectors.iter().enumerate() {
        table.push(id as i64, vector);
    }
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| random.vector(dimensions)).collect();
    let mut times: Vec<Duration> = Vec::new();
    let mut same = 0;
    for (at, query) in queries.iter().enumerate() {
        let started_at = Instant::now();
        let nearest = table.nearest(query, NEAREST);
        times.push(started_at.elapsed());
        if at % 10 == 0 {
            let exact = exact(&vectors, query);
            same += nearest.iter().filter(|hit| exact.contains(&hit.id)).count();
        }
    }
    times.sort_unstable();
    let at = |share: usize| times[QUERIES * share / 100].as_secs_f64() * 1000.0;
    println!(
        "\n{VECTORS} vectors of {dimensions} dimensions: p50 {:.2} ms, p99 {:.2} ms; {:.1} % of the \
         nearest {NEAREST} are those of 4 bytes a dimension",
        at(50),
        at(99),
        same as f64 * 100.0 / (QUERIES / 10 * NEAREST) as f64
    );
}

fn exact(vectors: &[Vec<f32>], query: &[f32]) -> Vec<i64> {
    let score = |vector: &[f32]| vector.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let mut scored: Vec<(f32, i64)> = vectors
        .iter()
        .enumerate()
        .map(|(id, vector)| (score(vector), id as i64))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(NEAREST).map(|(_, id)| id).collect()
}

/// Xorshift: the same vectors in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    }

    fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        let vector: Vec<f32> = (0..dimensions).map(|_| self.next()).collect();
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.into_iter().map(|value| value / norm).collect()
    }
}
