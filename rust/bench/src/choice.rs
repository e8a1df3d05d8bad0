//! Whose turn it is: which connection sends the next message.
//!
//! Owns the laws `uniform` and `zipf:EXPONENT` over the connections and a sequence of its own, so
//! that a run can be repeated. Never looks at the load. Used by `generate`.

use crate::failure::Failure;

const SEED: u64 = 0x6d6d_6f2d_6265_6e63;

/// A law over `0..count`.
pub struct Choice {
    /// Share of all draws up to and with each place.
    shares: Vec<f64>,
    state: u64,
}

impl Choice {
    /// Reads `uniform` or `zipf:EXPONENT`: place k is drawn with weight 1 / (k + 1)^EXPONENT.
    pub fn parse(text: &str, count: u32) -> Result<Self, Failure> {
        let wrong = || Failure::Usage(format!("--choice is uniform or zipf:EXPONENT: {text:?}"));
        let exponent: f64 = match text.split_once(':') {
            None if text == "uniform" => 0.0,
            Some(("zipf", exponent)) => exponent.parse().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        };
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=count)
            .map(|place| {
                sum += f64::from(place).powf(-exponent);
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Ok(Self {
            shares,
            state: SEED,
        })
    }

    /// The next place. splitmix64 (Steele, Lea and Flood 2014), 53 bits of it.
    #[allow(clippy::cast_precision_loss)]
    pub fn draw(&mut self) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let point = ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        let place = self.shares.partition_point(|share| *share <= point);
        place.min(self.shares.len().saturating_sub(1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss)]
mod tests {
    use super::*;

    fn counts(law: &str) -> Vec<u32> {
        let mut choice = Choice::parse(law, 100).unwrap();
        let mut counts = vec![0; 100];
        for _ in 0..100_000 {
            counts[choice.draw()] += 1;
        }
        counts
    }

    #[test]
    fn uniform_favours_nobody_and_zipf_the_first() {
        let uniform = counts("uniform");
        assert!(uniform.iter().all(|count| (800..1_200).contains(count)));
        let zipf = counts("zipf:1.5");
        let expected: f64 = (1..=100).map(|place| f64::from(place).powf(-1.5)).sum();
        let found = f64::from(zipf[0]) / 1e5;
        assert!((found - 1.0 / expected).abs() < 0.01, "{found}");
        assert!(zipf[0] > 2 * zipf[1] && zipf[1] > zipf[4]);
    }

    #[test]
    fn an_unknown_law_is_refused() {
        for law in ["zipf", "zipf:x", "fair", ""] {
            assert!(Choice::parse(law, 4).is_err(), "{law}");
        }
    }
}
