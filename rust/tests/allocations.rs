//! No allocation per message in steady state, counted by an allocator that counts.

#![allow(unsafe_code, clippy::unwrap_used, missing_docs)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use mmo_core::ids::ConnId;
use world::{ACT, PING, World, frame};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is the system allocator's own, with the arguments it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const DEPTH: usize = 16;
const PLAYERS: i64 = 8;

/// One round: each client sends `DEPTH` frames, split in the middle of one, and each is answered.
fn round(world: &mut World, clients: &mut [world::Client], bytes: &[u8], echoed: bool) {
    for client in &mut *clients {
        let (first, second) = bytes.split_at(bytes.len() / 2 + 3);
        client.stream.write_all(first).unwrap();
        client.stream.write_all(second).unwrap();
    }
    let mut answered = 0;
    let all = clients.len() * DEPTH;
    while !echoed && answered < all {
        let mut outbound = [(0i64, 0u32); 256];
        let mut taken = 0;
        world
            .server
            .pump(256, |event| {
                outbound[taken] = (event.conn, event.seq);
                taken += 1;
                true
            })
            .unwrap();
        let mut sending = world.server.outbound().unwrap();
        for (conn, seq) in &outbound[..taken] {
            sending.push(ConnId::from_i64(*conn), ACT, *seq, &[5; 54]);
        }
        assert!(sending.finish().is_empty());
        answered += taken;
        std::thread::yield_now();
    }
    let mut answer = [0; 64 * DEPTH];
    for client in clients {
        client.stream.read_exact(&mut answer).unwrap();
    }
}

/// How often 500 rounds allocate.
fn allocations_of_rounds(
    world: &mut World,
    clients: &mut [world::Client],
    bytes: &[u8],
    echoed: bool,
) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..500 {
        round(world, clients, bytes, echoed);
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// One test, so that no other allocates meanwhile.
#[test]
fn steady_state_allocates_nothing() {
    let mut world = World::new();
    let mut clients: Vec<_> = (1..=PLAYERS).map(|user| world.player(user).0).collect();
    for (opcode, echoed) in [(ACT, false), (PING, true)] {
        let bytes = frame(opcode, 7, &[5; 54]).repeat(DEPTH);
        for _ in 0..200 {
            round(&mut world, &mut clients, &bytes, echoed);
        }
        let messages = 500 * u64::try_from(DEPTH).unwrap() * PLAYERS.unsigned_abs();
        // Buffers still grow once to a burst that was not seen before, of which a busy machine
        // makes many at a time; what messages cost is there in every try.
        let mut try_again = || allocations_of_rounds(&mut world, &mut clients, &bytes, echoed);
        let fewest = (0..3).map(|_| try_again()).min().unwrap();
        assert!(fewest <= 16, "{fewest} allocations for {messages} messages");
    }
}
