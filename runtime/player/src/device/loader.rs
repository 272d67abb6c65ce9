//! Libraries that are opened at run time: the driver, and what the loader says of one that it cannot open.

use libloading::Library;

/// The driver's names. The CUDA bindings try the unversioned one first, so a stub on the search path would
/// win there; here too, so that it is seen.
const DRIVER: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// Opens the driver's library without starting the driver.
pub(crate) fn open_driver() -> Result<Library, libloading::Error> {
    // SAFETY: opening the driver runs its initialisers, which is what every CUDA program does.
    if let Ok(first) = unsafe { Library::new(DRIVER[0]) } {
        return Ok(first);
    }
    // SAFETY: as above.
    unsafe { Library::new(DRIVER[1]) }
}

/// The loader's own words: what wraps them only names the call.
pub(crate) fn loader_words(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
