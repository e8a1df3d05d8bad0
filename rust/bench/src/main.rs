//! Floors and load for the benchmarks: one binary, one measurement a call.
//!
//! Owns the byte-level load, the clocks and the bare servers that a figure is divided by. Never
//! links the core that it measures. Called by `python/mmo/proof/bench*.py` and by hand.

fn main() -> std::process::ExitCode {
    eprintln!("usage: mmo-bench echo-floor|generate|connect|database-floor [--option value]…");
    std::process::ExitCode::from(2)
}
