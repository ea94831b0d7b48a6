//! The scale of latencies: four buckets to each doubling. Bucket `b` holds 2^(b/4) up to 2^((b+1)/4) microseconds, so ten
//! seconds are bucket 93. Counts of several rows are added bucket by bucket, and a percentile of the sum is as good as
//! that of one.
//!
//! A percentile is given as the (geometric) middle of the bucket that the request of that rank is in: at most 9.1 % from
//! what that request took, `2^(1/8) - 1`. Interpolating within a bucket would be better on average and worse at worst.

use std::{collections::BTreeMap, time::Duration};

/// Buckets to each doubling.
const STEPS: f64 = 4.0;

/// The bucket that a latency is in; what is below a microsecond counts as one.
#[allow(clippy::cast_possible_truncation, reason = "at most 256: the logarithm of 64 bits, times four")]
pub fn bucket_of(elapsed: Duration) -> i16 {
    let micros = (elapsed.as_secs_f64() * 1e6).max(1.0);
    (STEPS * micros.log2()) as i16
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: i16) -> f64 {
    ((f64::from(bucket) + 0.5) / STEPS).exp2()
}

/// How many requests took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(BTreeMap<i16, i64>);

impl Latencies {
    pub fn add(&mut self, bucket: i16, requests: i64) {
        *self.0.entry(bucket).or_default() += requests;
    }

    /// What 95 of 100 requests took at most, in microseconds; 0 without requests. The request of that rank is the
    /// smallest that at least 95 % of all are not slower than.
    pub fn p95(&self) -> f64 {
        let all: i64 = self.0.values().sum();
        let rank = (all * 95 + 99) / 100;
        let mut seen = 0;
        for (bucket, requests) in &self.0 {
            seen += requests;
            if seen >= rank && *requests > 0 {
                return middle(*bucket);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        for micros in micros {
            latencies.add(bucket_of(Duration::from_micros(*micros)), 1);
        }
        latencies
    }

    /// The same without buckets.
    fn exactly(micros: &[u64]) -> f64 {
        let mut sorted = micros.to_vec();
        sorted.sort_unstable();
        sorted[(sorted.len() * 95).div_ceil(100) - 1] as f64
    }

    fn is_close(found: f64, exact: f64) -> bool {
        (found / exact - 1.0).abs() < 0.0906
    }

    #[test]
    fn a_bucket_begins_where_the_last_one_ends() {
        assert_eq!(bucket_of(Duration::ZERO), 0);
        assert_eq!(bucket_of(Duration::from_nanos(1)), 0);
        assert_eq!(bucket_of(Duration::from_micros(1)), 0);
        assert_eq!(bucket_of(Duration::from_micros(2)), 4);
        assert_eq!(bucket_of(Duration::from_micros(1024)), 40);
        assert_eq!(bucket_of(Duration::from_secs(10)), 93);
        assert!(bucket_of(Duration::MAX) > 0, "nothing overflows");
        let buckets: Vec<i16> = (1..100_000).map(|micros| bucket_of(Duration::from_micros(micros))).collect();
        assert!(buckets.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn one_latency_is_told_within_a_tenth_wherever_it_lies() {
        for micros in (1..10_000_000).step_by(997) {
            let found = of(&[micros]).p95();
            assert!(is_close(found, micros as f64), "{micros}: {found}");
        }
    }

    #[test]
    fn the_95th_percentile_is_within_a_tenth() {
        let even: Vec<u64> = (1..=1_000).map(|step| step * 100).collect();
        let skewed: Vec<u64> = (1..=1_000).map(|step: u64| 50 + step.pow(2)).collect();
        let two_humps: Vec<u64> = (0..1_000).map(|n| if n % 20 == 0 { 900_000 + n } else { 1_200 + n % 7 }).collect();
        let few = vec![10, 20, 4_000];
        for samples in [even, skewed, two_humps, few] {
            let (found, exact) = (of(&samples).p95(), exactly(&samples));
            assert!(is_close(found, exact), "{found} instead of {exact}");
        }
        // Nineteen of twenty are fast: the twentieth is beyond the 95th percentile.
        let mut samples = vec![1_000; 19];
        samples.push(1_000_000);
        assert!(is_close(of(&samples).p95(), 1_000.0));
        samples.push(1_000_000);
        assert!(is_close(of(&samples).p95(), 1_000_000.0));
        assert!(of(&[]).p95() == 0.0);
    }

    #[test]
    fn counts_merge() {
        let (first, second): (Vec<u64>, Vec<u64>) =
            ((1..500).map(|n| n * 31).collect(), (1..300).map(|n| n * 977).collect());
        let mut merged = of(&first);
        for (bucket, requests) in of(&second).0 {
            merged.add(bucket, requests);
        }
        let together = of(&[first, second].concat());
        assert_eq!(merged, together);
        assert!(merged.p95() == together.p95());
    }
}
