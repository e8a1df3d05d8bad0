//! The command line: `--name value` pairs.
//!
//! Owns parsing and its refusals. Never holds a default that changes a figure silently: every
//! caller names its own. Used by every subcommand.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::failure::Failure;

/// Options of one call, by name without the dashes.
pub struct Options {
    values: BTreeMap<String, String>,
}

impl Options {
    /// Reads `--name value` pairs; anything else is a usage failure.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let Some(bare) = name.strip_prefix("--") else {
                return Err(Failure::Usage(format!(
                    "expected an option, found {name:?}"
                )));
            };
            let Some(value) = arguments.next() else {
                return Err(Failure::Usage(format!("--{bare} needs a value")));
            };
            values.insert(bare.to_owned(), value);
        }
        Ok(Self { values })
    }

    /// Refuses every option that is not in `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), Failure> {
        match self
            .values
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        {
            Some(name) => Err(Failure::Usage(format!("unknown option --{name}"))),
            None => Ok(()),
        }
    }

    /// The text of an option, when given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The text of an option that must be given.
    pub fn required(&self, name: &str) -> Result<&str, Failure> {
        self.text(name)
            .ok_or_else(|| Failure::Usage(format!("--{name} is missing")))
    }

    /// A number, when given.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Failure::Usage(format!("--{name} is no number: {text:?}")))
            })
            .transpose()
    }

    /// A number that must be given.
    pub fn required_number<T: FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.required(name)?;
        self.number(name)?
            .ok_or_else(|| Failure::Usage(format!("--{name} is missing")))
    }

    /// Seconds with a fraction, when given; 0 to 3,600.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, Failure> {
        let Some(seconds) = self.number::<f64>(name)? else {
            return Ok(None);
        };
        if (0.0..=3_600.0).contains(&seconds) {
            Ok(Some(Duration::from_secs_f64(seconds)))
        } else {
            Err(Failure::Usage(format!(
                "--{name} is outside 0..3600 seconds"
            )))
        }
    }
}

/// Bytes from a hexadecimal text of even length.
pub fn bytes_from_hex(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || Failure::Usage(format!("not hexadecimal: {text:?}"));
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(wrong());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options, Failure> {
        Options::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn pairs_are_read_and_strangers_refused() {
        let read = options(&["--for", "1.5", "--depth", "16"]).unwrap();
        assert_eq!(
            read.seconds("for").unwrap(),
            Some(Duration::from_millis(1_500))
        );
        assert_eq!(read.required_number::<u32>("depth").unwrap(), 16);
        assert!(read.only(&["for"]).is_err());
        assert!(read.required_number::<u32>("bytes").is_err());
        assert!(options(&["--for"]).is_err());
        assert!(options(&["for", "1"]).is_err());
    }

    #[test]
    fn hexadecimal_is_strict() {
        assert_eq!(bytes_from_hex("00ff10").unwrap(), [0, 255, 16]);
        assert!(bytes_from_hex("0").is_err());
        assert!(bytes_from_hex("zz").is_err());
    }
}
