//! The module `meshwg_core`.

use pyo3::prelude::*;

/// The compiled data path of meshwg.
#[pymodule]
fn meshwg_core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
