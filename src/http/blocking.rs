//! Work that blocks, on a bounded number of threads of its own.
//!
//! Law: a permit is held until the work ends, even when nobody waits for it any more.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::problem::Problem;

/// So many threads and no more; callers wait their turn (for at most the request's time).
pub(super) struct Threads {
    permits: Arc<Semaphore>,
}

impl Threads {
    /// At most `threads_max` at once.
    pub(super) fn new(threads_max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(threads_max)) }
    }

    /// Runs the work on a thread for blocking work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Problem::stopping())?;
        let running = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        running.await.map_err(|error| Problem::internal(&error))
    }
}
