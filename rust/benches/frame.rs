//! Encoding and decoding of 64-byte frames.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mmo_core::frame::{decode, encode};

fn frame_64(criterion: &mut Criterion) {
    let body = [7; 54];
    let mut bytes = Vec::new();
    encode(&mut bytes, 500, 1, &body);
    criterion.bench_function("frame_decode_64", |bencher| {
        bencher.iter(|| decode(black_box(&bytes), 16_000));
    });
    let mut target = Vec::new();
    criterion.bench_function("frame_encode_64", |bencher| {
        bencher.iter(|| {
            target.clear();
            encode(&mut target, 500, 1, black_box(&body))
        });
    });
}

criterion_group!(benches, frame_64);
criterion_main!(benches);
