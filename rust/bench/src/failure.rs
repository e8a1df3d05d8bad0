//! Why a measurement ended without a figure.
//!
//! Owns the one error type of this binary. Never retries anything: a measurement that met an error
//! has no figure. Used by every module.

use std::fmt;

/// What went wrong, told to a person.
#[derive(Debug)]
pub enum Failure {
    /// The command line is not understood.
    Usage(String),
    /// The system refused a call.
    System(std::io::Error),
    /// The measured server answered something else than it must, or ended a connection.
    Server(String),
    /// The database refused.
    Database(mysql::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Server(text) => out.write_str(text),
            Self::System(error) => write!(out, "{error}"),
            Self::Database(error) => write!(out, "{error}"),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<mysql::Error> for Failure {
    fn from(error: mysql::Error) -> Self {
        Self::Database(error)
    }
}
