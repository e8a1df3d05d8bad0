//! A body slot there and back, in batches of 256.

#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use mmo_core::pool::SlotPool;

fn pool_slot(criterion: &mut Criterion) {
    let mut pool = SlotPool::new(256, 1024);
    let returns = pool.returns();
    let mut spent = Vec::new();
    criterion.bench_function("pool_256_slots", |bencher| {
        bencher.iter(|| {
            for _ in 0..256 {
                spent.push(pool.store(&[7; 54]).unwrap());
            }
            returns.give_back(&mut spent);
            pool.reclaim();
        });
    });
}

criterion_group!(benches, pool_slot);
criterion_main!(benches);
