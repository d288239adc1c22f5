//! The one ONNX Runtime of the process: loaded once, telemetry off, never unloaded.
//!
//! Law: a missing or wrong library is an error that says what to do, never a panic or an abort: `ort` itself panics when
//! any of its functions is called before a library is there, so everything that touches it asks for an [`Environment`]
//! first. Called by `main` ([`prepare_environment`]) and by the registry.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::library;

/// Read by ONNX Runtime when its library loads.
const TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No library, or no usable one.
    #[error(transparent)]
    Library(#[from] library::Error),
    /// [`prepare_environment`] was not called, so the library could send telemetry.
    #[error("{TELEMETRY} is not 1 in the environment; telemetry could start with the library")]
    TelemetryOn,
    /// The library does not load, lacks the entry point, or is too old.
    #[error("cannot load ONNX Runtime")]
    Load(#[source] ort::LoadDynamicError),
    /// The library loads and does not work.
    #[error("ONNX Runtime at {} does not start: {reason}", .path.display())]
    Start {
        /// The library.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// A runtime that works.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The library it came from.
    pub path: PathBuf,
    pub(super) environment: Environment,
}

/// Gives back what a change of a model has freed: this thread's share, and what ONNX Runtime took from glibc, which keeps
/// freed memory for the thread that had it, while changes run on another thread each time. Some 1 ms; not for a hot path.
pub(crate) fn give_back_freed_memory() {
    #[expect(unsafe_code, reason = "C functions without pointers")]
    // SAFETY: both may be called at any time, from any thread.
    unsafe {
        libmimalloc_sys::mi_collect(true);
        #[cfg(target_env = "gnu")]
        libc::malloc_trim(0);
    }
}

/// Kept for ever: `ort` allows one environment per process, and none after the last handle to it is gone.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// Turns telemetry off for a library that is loaded later. `main` calls it first of all.
#[expect(
    unsafe_code,
    reason = "set_var is unsound while other threads read the environment: main has none yet"
)]
pub fn prepare_environment() {
    // SAFETY: called first thing in main, before any thread exists.
    unsafe { std::env::set_var(TELEMETRY, "1") };
}

/// The runtime, loading it if no earlier call has. A failure may be tried again: the library may have been fetched since.
/// Once one is loaded, `configured` is no longer looked at: a process has one runtime.
///
/// # Errors
/// See [`Error`].
pub fn load(configured: &Path) -> Result<Runtime, Error> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = loaded.as_ref() {
        return Ok(runtime.clone());
    }
    if std::env::var_os(TELEMETRY).is_none_or(|value| value != "1") {
        return Err(Error::TelemetryOn);
    }
    let path = library::find(configured)?;
    let environment = start(&path)?;
    Ok(loaded.insert(Runtime { path, environment }).clone())
}

fn start(path: &Path) -> Result<Environment, Error> {
    let failed = |reason: String| Error::Start { path: path.to_path_buf(), reason };
    // `ort` asserts what a library answers (a null API, for one): a fault of the file, not of this process.
    let started = catch_unwind(AssertUnwindSafe(|| {
        let builder = ort::init_from(path).map_err(Error::Load)?;
        let built = builder.with_name("intentd").with_telemetry(false).build();
        built.map_err(|error| failed(error.to_string()))
    }));
    started.unwrap_or_else(|_| Err(failed("it offers no API that this build can use".to_owned())))
}
