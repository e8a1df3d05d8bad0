//! The exception that Python sees.
//!
//! Owns the translation of [`crate::error::CoreError`]. Called by the other files of the bridge.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::PyException;

create_exception!(
    mmo._core,
    CoreError,
    PyException,
    "The core cannot do what was asked."
);

impl From<crate::error::CoreError> for PyErr {
    fn from(error: crate::error::CoreError) -> Self {
        CoreError::new_err(error.to_string())
    }
}
