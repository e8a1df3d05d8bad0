//! The corpus of the fuzz targets and mutations of it, through the same bodies: the short form of
//! `make fuzz`, in every `cargo test`.
//!
//! Owns the mutations, by a fixed seed, and that the corpus reaches something. What must hold for
//! any bytes is claimed in `rust/fuzz/src`.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bodies::{Body, TARGETS};

/// The same mutations every time: a fault is found again by the next run.
const SEED: u64 = 0x6D6D_6F2D_6675_7A7A;
/// Longest mutated input: beyond the limits of all bodies.
const BYTES_MAX: usize = 8_192;
/// The kept corpus stays small enough to be read in a review.
const CORPUS_BYTES_MAX: usize = 300_000;

/// Lengths around which limits lie.
const EDGES: [u64; 9] = [0, 1, 5, 6, 0xFF, 1_024, 1_025, 0xFFFF, u64::MAX];

/// A kept input: its file name and its bytes.
type Kept = (String, Vec<u8>);

/// Inputs that came past the first door of a body, and those that did not.
#[derive(Debug, Default, Eq, PartialEq)]
struct Reached {
    within: usize,
    outside: usize,
}

/// xorshift64*, Marsaglia 2003 and Vigna 2014.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from((self.next() >> 11) % limit.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The kept inputs of one target, in the order of their names.
fn corpus(target: &str) -> Vec<Kept> {
    let directory = fuzz_directory().join("corpus").join(target);
    names_in(&directory)
        .into_iter()
        .map(|name| {
            let bytes = fs::read(directory.join(&name)).unwrap();
            (name, bytes)
        })
        .collect()
}

/// One to three changes of a kept input: bits, cuts, joins, lengths, noise, repeats.
fn mutated(bytes: &[u8], corpus: &[Kept], chance: &mut Chance) -> Vec<u8> {
    let mut made = bytes.to_vec();
    for _ in 0..=chance.below(3) {
        let at = chance.below(made.len() + 1);
        match chance.below(7) {
            0 => {
                if let Some(byte) = made.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            1 => made.truncate(at),
            2 => drop(made.drain(..at)),
            3 => {
                let other = &corpus[chance.below(corpus.len())].1;
                made.truncate(at);
                made.extend_from_slice(&other[chance.below(other.len() + 1)..]);
            }
            4 => length_at(&mut made, at, chance),
            5 => {
                let noise: Vec<u8> = (0..chance.below(9)).map(|_| chance.byte()).collect();
                drop(made.splice(at..at, noise));
            }
            _ => {
                let end = at + chance.below(made.len() - at + 1);
                made.extend_from_within(at..end);
            }
        }
    }
    made.truncate(BYTES_MAX);
    made
}

/// Writes a number that may be taken for a length: an edge, or about what is left.
fn length_at(made: &mut [u8], at: usize, chance: &mut Chance) {
    let rest = made.len() - at;
    let number = match chance.below(EDGES.len() + 3) {
        edge if edge < EDGES.len() => EDGES[edge],
        _ => (rest + chance.below(3)).saturating_sub(5) as u64,
    };
    let width = [1_usize, 2, 4, 8][chance.below(4)].min(rest);
    made[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
}

/// Runs a body over one input; what it claims of it, or the input at which a claim failed.
fn judged(body: impl Fn(&[u8]) -> bool + RefUnwindSafe, bytes: &[u8]) -> Result<bool, String> {
    catch_unwind(|| body(bytes)).map_err(|_| {
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("a claim fails for the bytes {hexadecimal}")
    })
}

/// Every kept input, then about `mutations` mutated ones, spread over the corpus, and half as many
/// more of inputs that come past the first door.
fn replay(
    corpus: &[Kept],
    body: impl Fn(&[u8]) -> bool + RefUnwindSafe + Copy,
    mutations: usize,
) -> Result<[Reached; 2], String> {
    let mut chance = Chance(SEED);
    let [mut kept, mut changed] = [Reached::default(), Reached::default()];
    let mut within = Vec::new();
    for one in corpus {
        let reached = judged(body, &one.1).map_err(|fault| format!("{}: {fault}", one.0))?;
        kept.count(reached);
        if reached {
            within.push(one);
        }
    }
    // Few inputs come past the door, and of the others no mutation may: half as many more of those.
    let each = mutations.div_ceil(corpus.len());
    let more = mutations.div_ceil(2 * within.len().max(1));
    let all = corpus.iter().map(|one| (one, each));
    for ((name, bytes), times) in all.chain(within.into_iter().map(|one| (one, more))) {
        for _ in 0..times {
            let made = mutated(bytes, corpus, &mut chance);
            changed.count(judged(body, &made).map_err(|fault| format!("from {name}: {fault}"))?);
        }
    }
    Ok([kept, changed])
}

impl Reached {
    fn count(&mut self, within: bool) {
        if within {
            self.within += 1;
        } else {
            self.outside += 1;
        }
    }
}

/// Replays one target and demands that its corpus reaches both sides of the door.
fn holds(target: &str, mutations: usize) {
    let body = body_of(target);
    let found = replay(&corpus(target), body, mutations).unwrap_or_else(|fault| panic!("{fault}"));
    for reached in &found {
        assert!(
            reached.within > 0 && reached.outside > 0,
            "{target} tests one side only: {found:?}"
        );
    }
    assert!(found[1].within + found[1].outside >= mutations);
}

fn body_of(target: &str) -> Body {
    TARGETS.iter().find(|(name, _)| *name == target).unwrap().1
}

#[test]
fn frames_hold_for_the_corpus_and_its_mutations() {
    holds("frame", 100_000);
}

#[test]
fn tokens_hold_for_the_corpus_and_its_mutations() {
    holds("token", 6_000);
}

#[test]
fn link_handshakes_hold_for_the_corpus_and_its_mutations() {
    holds("link_handshake", 10_000);
}

#[test]
fn datagrams_hold_for_the_corpus_and_its_mutations() {
    holds("datagram", 20_000);
}

#[test]
fn every_target_has_a_program_and_a_small_corpus() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let programs: Vec<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&fuzz_directory().join("fuzz_targets")), programs);
    assert_eq!(names_in(&fuzz_directory().join("corpus")), targets);
    let manifest = fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap();
    for program in programs {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{program}\"")));
    }
    let kept = targets.into_iter().flat_map(corpus);
    let bytes: usize = kept.map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < CORPUS_BYTES_MAX, "{bytes} bytes are kept");
}

#[test]
fn a_planted_fault_is_found_by_mutations_alone() {
    // Believes a length that it read: the bytes may end before.
    let careless = |bytes: &[u8]| match bytes {
        [length, rest @ ..] => !rest[..usize::from(*length)].is_empty(),
        [] => false,
    };
    let sound = vec![("sound".to_owned(), b"\x05hello".to_vec())];
    assert!(
        replay(&sound, careless, 0).is_ok(),
        "the kept file is sound"
    );
    let fault = replay(&sound, careless, 100).unwrap_err();
    assert!(
        fault.starts_with("from sound: a claim fails for the bytes "),
        "{fault}"
    );
    assert_eq!(replay(&sound, careless, 100), Err(fault), "and found again");
}

#[test]
fn mutations_change_the_bytes_in_every_way_that_they_promise() {
    let corpus = vec![("a".to_owned(), vec![1; 40]), ("b".to_owned(), vec![2; 40])];
    let mut chance = Chance(SEED);
    let made: Vec<Vec<u8>> = (0..2_000)
        .map(|_| mutated(&corpus[0].1, &corpus, &mut chance))
        .collect();
    let some = |such: fn(&[u8]) -> bool| made.iter().any(|bytes| such(bytes));
    assert!(
        some(<[u8]>::is_empty) && some(|bytes| bytes.len() == 39),
        "cuts"
    );
    assert!(some(|bytes| bytes.len() > 60), "joins and repeats");
    assert!(some(|bytes| bytes.ends_with(&[2, 2, 2])), "of two files");
    assert!(
        some(|bytes| bytes.windows(4).any(|four| four == [255; 4])),
        "lengths"
    );
    let one_bit = |bytes: &[u8]| {
        bytes.len() == 40
            && bytes
                .iter()
                .map(|byte| (*byte ^ 1).count_ones())
                .sum::<u32>()
                == 1
    };
    assert!(some(one_bit), "single bits");
}
