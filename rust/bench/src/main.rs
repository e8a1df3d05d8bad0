//! Floors and load for the benchmarks: one binary, one measurement a call.
//!
//! Owns the byte-level load, the clocks and the bare servers that a figure is divided by. Never
//! links the core that it measures. Called by `python/mmo/proof/bench*.py` and by hand. Every
//! subcommand prints JSON lines on standard output; an error goes to standard error with exit 1.

mod choice;
mod connect;
mod connection;
mod database;
mod failure;
mod flood;
mod floor;
mod frame;
mod generate;
mod histogram;
mod lag;
mod meter;
mod options;
mod workload;

use std::process::ExitCode;

const USAGE: &str = "usage: mmo-bench COMMAND [--option value]…
  echo-floor      --port P [--answer-bytes N --answer-opcode O]
  generate        --address H:P --connections N --depth D --bytes B --for S [--warm S]
                  [--enter TOKENS] [--setup OP:HEX,…] [--opcode O] [--reply-opcode O]
                  [--body HEX [--count-at N [--count-to M]]]
                  [--rate R] [--messages M] [--server-pid P]
                  [--choice uniform|zipf:E [--in-flight N]] [--watch PID,…]
  connect         --address H:P --connections N --hold S [--enter TOKENS] [--sources N]
  flood           --addresses H:P,… --logins H:P,… --hello HEX --for S
                  --connections-per-s R --datagrams-per-s R [--datagrams H:P,…]
                  [--players FILE] [--identities FILE] [--threads N --seed S]
  database-floor  --socket PATH --user U --password-file F --database D
                  --transactions FILE --connections N --for S [--warm S] [--server-pid P]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let outcome = options::Options::parse(arguments).and_then(|options| match command.as_str() {
        "echo-floor" => floor::run(&options),
        "generate" => generate::run(&options),
        "connect" => connect::run(&options),
        "flood" => flood::run(&options),
        "database-floor" => database::run(&options),
        _ => Err(failure::Failure::Usage(USAGE.to_owned())),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure::Failure::Usage(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
        Err(failure) => {
            eprintln!("mmo-bench {command}: {failure}");
            ExitCode::FAILURE
        }
    }
}
