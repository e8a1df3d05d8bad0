//! The Python module `mmo._core`: the only place that knows PyO3.
//!
//! Owns the translation between Python objects and [`crate::server::Server`]. No Rust struct keeps
//! a Python object, and no thread of the core ever attaches to the interpreter.

mod convert;
mod core;
mod error;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::config::SETTINGS_FIELDS;
use crate::error::CloseReason;

/// Builds the module.
#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<core::NetCore>()?;
    module.add("CoreError", py.get_type::<error::CoreError>())?;
    module.add(
        "SETTINGS_FIELDS",
        pyo3::types::PyTuple::new(py, SETTINGS_FIELDS)?,
    )?;
    let reasons = PyDict::new(py);
    for reason in CloseReason::ALL {
        reasons.set_item(reason.name(), reason.number())?;
    }
    module.add("CLOSE_REASONS", reasons)?;
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    module.add("BUILD_PROFILE", profile)
}
