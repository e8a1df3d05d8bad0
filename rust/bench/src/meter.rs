//! Processor time: of this process and of the measured one.
//!
//! Owns the reading of `/proc`. The figure of record is on-CPU time of *all* threads of the server,
//! which stays comparable while wall-clock time swings with the machine's other guests.

use std::time::Instant;

use crate::failure::Failure;

/// On-CPU nanoseconds of all threads of a process, from the scheduler's own count.
pub fn process_cpu_ns(pid: u32) -> Result<u64, Failure> {
    let mut total_ns = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading: it then adds nothing.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let first = text.split_ascii_whitespace().next().unwrap_or("0");
        total_ns += first.parse::<u64>().unwrap_or(0);
    }
    Ok(total_ns)
}

/// On-CPU nanoseconds of the first thread of a process: of a node, the one that runs Python.
fn main_cpu_ns(pid: u32) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat"))?;
    let first = text.split_ascii_whitespace().next().unwrap_or("0");
    Ok(first.parse().unwrap_or(0))
}

/// One edge of a measured window.
pub struct Edge {
    /// When it was taken.
    pub at: Instant,
    own_ns: u64,
    server_ns: Option<u64>,
    main_ns: Option<u64>,
    watched_ns: Vec<u64>,
}

impl Edge {
    /// Reads all clocks now.
    pub fn take(server_pid: Option<u32>) -> Result<Self, Failure> {
        Self::take_with(server_pid, &[])
    }

    /// The same with other processes beside the server.
    pub fn take_with(server_pid: Option<u32>, watched: &[u32]) -> Result<Self, Failure> {
        let server_ns = server_pid.map(process_cpu_ns).transpose()?;
        let main_ns = server_pid.map(main_cpu_ns).transpose()?;
        let watched_ns = watched.iter().map(|pid| process_cpu_ns(*pid));
        Ok(Self {
            at: Instant::now(),
            own_ns: process_cpu_ns(std::process::id())?,
            server_ns,
            main_ns,
            watched_ns: watched_ns.collect::<Result<_, _>>()?,
        })
    }

    /// What passed until `end`.
    #[allow(clippy::cast_precision_loss)]
    pub fn until(&self, end: &Self) -> Window {
        let seconds = (end.at - self.at).as_secs_f64();
        let passed_s = |begin: Option<u64>, end: Option<u64>| match (begin, end) {
            (Some(begin), Some(end)) => Some(end.saturating_sub(begin) as f64 / 1e9),
            _ => None,
        };
        let watched = self.watched_ns.iter().zip(&end.watched_ns);
        let own_cpu_s = end.own_ns.saturating_sub(self.own_ns) as f64 / 1e9;
        Window {
            seconds,
            own_cpu_s,
            server_cpu_s: passed_s(self.server_ns, end.server_ns),
            main_cpu_s: passed_s(self.main_ns, end.main_ns),
            watched_cpu_s: watched
                .map(|(begin, end)| end.saturating_sub(*begin) as f64 / 1e9)
                .collect(),
        }
    }
}

/// A measured window.
pub struct Window {
    /// Wall-clock length.
    pub seconds: f64,
    /// Processor seconds of this process.
    pub own_cpu_s: f64,
    /// Processor seconds of the server, when it was named.
    pub server_cpu_s: Option<f64>,
    /// Of which its first thread used these.
    pub main_cpu_s: Option<f64>,
    /// Processor seconds of the watched processes, in the order given.
    pub watched_cpu_s: Vec<f64>,
}

impl Window {
    /// Share of one core that this process used.
    pub fn own_busy(&self) -> f64 {
        self.own_cpu_s / self.seconds
    }

    /// Share of one core that the server used.
    pub fn server_busy(&self) -> Option<f64> {
        self.server_cpu_s.map(|cpu_s| cpu_s / self.seconds)
    }

    /// The generator was the bottleneck: the window says nothing about the server.
    pub fn is_void(&self) -> bool {
        self.own_busy() > 0.95 && self.server_busy().is_some_and(|busy| busy < 0.85)
    }
}
