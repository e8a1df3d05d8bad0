//! The bare database: the same statements in the same groups, and nothing else.
//!
//! Owns the replay of prepared transactions from a file. It knows no table: the SQL texts and their
//! parameters come from the store's own constants by way of the bench. Never decides a group's
//! content. Prints one JSON line.
//!
//! The file is JSON: `{"statements": ["SQL", …], "lanes": [lane, …]}`; a lane is a list of
//! transactions, a transaction a list of steps, a step `[statement, "parameter", rows]`. A lane is
//! walked by one connection, its transactions in turn, again and again; `rows` is how many rows the
//! statement must touch, or null. In a parameter `$pass$` stands for the number of the pass over
//! the lane (0, 1, …), `$pass+N$` for N more: versions rise and keys stay unique however often the
//! lane is walked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, Statement};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::meter::Edge;
use crate::options::Options;

enum Piece {
    Text(String),
    Pass { ahead: u64 },
}

struct Step {
    statement: usize,
    parameter: Option<Vec<Piece>>,
    rows: Option<u64>,
}

type Transaction = Vec<Step>;

struct Script {
    statements: Vec<String>,
    lanes: Vec<Vec<Transaction>>,
}

struct Account {
    socket: String,
    user: String,
    password: String,
    database: String,
}

/// What one connection did inside the window.
struct Done {
    transactions: u64,
    latencies: Histogram,
}

/// Runs the replay.
#[allow(clippy::cast_precision_loss)]
pub fn run(options: &Options) -> Result<(), Failure> {
    options.only(&[
        "socket",
        "user",
        "password-file",
        "database",
        "transactions",
        "connections",
        "for",
        "warm",
        "server-pid",
    ])?;
    let account = read_account(options)?;
    let connections: usize = options.required_number("connections")?;
    let length = options.seconds("for")?;
    let length = length.ok_or_else(|| Failure::Usage("--for is missing".to_owned()))?;
    let warm = options.seconds("warm")?.unwrap_or(Duration::ZERO);
    let server_pid = options.number::<u32>("server-pid")?;
    let script = Arc::new(read_script(options.required("transactions")?)?);
    if script.lanes.len() < connections {
        return Err(Failure::Usage("fewer lanes than connections".to_owned()));
    }

    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..connections)
        .map(|lane| {
            let mut connection = open(&account)?;
            let (script, counting, stop) = (script.clone(), counting.clone(), stop.clone());
            Ok(std::thread::spawn(move || {
                replay(&mut connection, &script, lane, &counting, &stop)
            }))
        })
        .collect::<Result<_, Failure>>()?;

    std::thread::sleep(warm);
    let begin = Edge::take(server_pid)?;
    counting.store(true, Ordering::Relaxed);
    std::thread::sleep(length);
    counting.store(false, Ordering::Relaxed);
    let end = Edge::take(server_pid)?;
    stop.store(true, Ordering::Relaxed);

    let mut transactions = 0;
    let mut latencies = Histogram::new();
    for worker in workers {
        let died = |_| Failure::Server("a replaying thread died".to_owned());
        let done = worker.join().map_err(died)??;
        transactions += done.transactions;
        latencies.merge(&done.latencies);
    }
    let window = begin.until(&end);
    let line = json!({
        "transactions": transactions,
        "seconds": window.seconds,
        "transactions_per_s": transactions as f64 / window.seconds,
        "server_cpu_s": window.server_cpu_s,
        "server_busy": window.server_busy(),
        "own_busy": window.own_busy(),
        "p50_ms": latencies.percentile_ms(500),
        "p99_ms": latencies.percentile_ms(990),
    });
    println!("{line}");
    Ok(())
}

fn read_account(options: &Options) -> Result<Account, Failure> {
    let password = std::fs::read_to_string(options.required("password-file")?)?;
    Ok(Account {
        socket: options.required("socket")?.to_owned(),
        user: options.required("user")?.to_owned(),
        password: password.trim_end_matches('\n').to_owned(),
        database: options.required("database")?.to_owned(),
    })
}

fn open(account: &Account) -> Result<Conn, Failure> {
    let options = OptsBuilder::new()
        .socket(Some(account.socket.clone()))
        .user(Some(account.user.clone()))
        .pass(Some(account.password.clone()))
        .db_name(Some(account.database.clone()));
    let mut connection = Conn::new(options)?;
    connection.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
    Ok(connection)
}

fn replay(
    connection: &mut Conn,
    script: &Script,
    lane: usize,
    counting: &AtomicBool,
    stop: &AtomicBool,
) -> Result<Done, Failure> {
    let statements: Vec<Statement> = script
        .statements
        .iter()
        .map(|sql| connection.prep(sql))
        .collect::<Result<_, _>>()?;
    let mut done = Done {
        transactions: 0,
        latencies: Histogram::new(),
    };
    for pass in 0_u64.. {
        for transaction in &script.lanes[lane] {
            if stop.load(Ordering::Relaxed) {
                return Ok(done);
            }
            let begun = Instant::now();
            connection.query_drop("START TRANSACTION")?;
            for step in transaction {
                execute(connection, &statements[step.statement], step, pass)?;
            }
            connection.query_drop("COMMIT")?;
            if counting.load(Ordering::Relaxed) {
                done.transactions += 1;
                let took_ns = begun.elapsed().as_nanos();
                done.latencies
                    .record(u64::try_from(took_ns).unwrap_or(u64::MAX));
            }
        }
    }
    Ok(done)
}

fn execute(
    connection: &mut Conn,
    statement: &Statement,
    step: &Step,
    pass: u64,
) -> Result<(), Failure> {
    let result = match &step.parameter {
        Some(pieces) => connection.exec_iter(statement, (render(pieces, pass),))?,
        None => connection.exec_iter(statement, ())?,
    };
    let changed = result.affected_rows();
    let mut read = 0_u64;
    for row in result {
        row?;
        read += 1;
    }
    match step.rows {
        Some(rows) if rows != changed.max(read) => Err(Failure::Server(format!(
            "statement {} touched {} rows instead of {rows} in pass {pass}",
            step.statement,
            changed.max(read)
        ))),
        _ => Ok(()),
    }
}

fn render(pieces: &[Piece], pass: u64) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Pass { ahead } => text.push_str(&(pass + ahead).to_string()),
        }
    }
    text
}

fn split_pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$pass") {
        pieces.push(Piece::Text(before.to_owned()));
        let (ahead, after) = after.split_once('$').unwrap_or((after, ""));
        let ahead = ahead.trim_start_matches('+').parse().unwrap_or(0);
        pieces.push(Piece::Pass { ahead });
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

fn read_script(path: &str) -> Result<Script, Failure> {
    let wrong = |what: &str| Failure::Usage(format!("{path}: {what}"));
    let text = std::fs::read_to_string(path)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let list = |value: &Value| value.as_array().cloned().ok_or_else(|| wrong("not a list"));
    let statements: Vec<String> = list(&value["statements"])?
        .iter()
        .map(|sql| {
            sql.as_str()
                .map(str::to_owned)
                .ok_or_else(|| wrong("a statement is no text"))
        })
        .collect::<Result<_, _>>()?;
    let step = |value: &Value| {
        let statement = value[0]
            .as_u64()
            .and_then(|number| usize::try_from(number).ok());
        let statement = statement.filter(|number| *number < statements.len());
        Ok(Step {
            statement: statement.ok_or_else(|| wrong("a step names no statement"))?,
            parameter: value[1].as_str().map(split_pieces),
            rows: value[2].as_u64(),
        })
    };
    let transaction = |value: &Value| {
        list(value)?
            .iter()
            .map(step)
            .collect::<Result<Transaction, Failure>>()
    };
    let lane = |value: &Value| {
        list(value)?
            .iter()
            .map(transaction)
            .collect::<Result<Vec<_>, Failure>>()
    };
    let lanes = list(&value["lanes"])?
        .iter()
        .map(lane)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Script { lanes, statements })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pass_is_put_where_it_belongs() {
        let pieces = split_pieces(r#"[{"v":$pass$,"id":"9$pass+1$","n":$pass+12$}]"#);
        assert_eq!(render(&pieces, 7), r#"[{"v":7,"id":"98","n":19}]"#);
        assert_eq!(render(&split_pieces("[1]"), 7), "[1]");
    }
}
