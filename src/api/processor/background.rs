//! Threads for whoever gives way.

use std::{fmt, future::Future};

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::base::{
    error::{Error, Result},
    priority,
};

/// Threads to which the operating system prefers others.
pub(super) struct Background(Option<Runtime>);

impl Background {
    pub(super) fn new() -> Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors)
            .thread_name("background")
            .on_thread_start(priority::give_way)
            .enable_all()
            .build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(Error::internal)
    }

    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let Some(runtime) = &self.0 else { return std::future::pending().await };
        match AbortOnDropHandle::new(runtime.spawn(work.in_current_span())).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The server is ending.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed within a runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")
    }
}
