//! Who gives way to whom: threads, and what is done elsewhere for whoever a thread works for.

use std::{cell::Cell, time::Duration};

/// How much the operating system prefers other threads: a tenth of their time, when all want all.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

thread_local! {
    static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
    static DONE_ELSEWHERE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// From now on the operating system prefers other threads to this one, and to those that it starts (on Linux; elsewhere
/// it is as before).
pub fn give_way() {
    GIVES_WAY.set(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the background has the priority of other threads");
    }
}

/// Whether this thread gives way.
pub fn gives_way() -> bool {
    GIVES_WAY.get()
}

/// Notes that another thread has worked this long for what this one polls.
pub fn done_elsewhere(time: Duration) {
    DONE_ELSEWHERE.set(DONE_ELSEWHERE.get().saturating_add(time));
}

/// What has been noted since the last time.
pub fn take_done_elsewhere() -> Duration {
    DONE_ELSEWHERE.replace(Duration::ZERO)
}

/// What this thread has used of a processor: not what it waited for one.
pub fn time_of_thread() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
