//! Passwords: argon2id with OWASP's parameters, off the async threads, on half of the cores at most: guesses by the hundred
//! leave room for others. A permit is
//! the hash's, not the request's: a client that hangs up frees none before the memory is free.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::base::error::{Code, Error, Refusal, Result};

/// Shortest and longest password, in characters (NIST SP 800-63B asks for at least 8).
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// Hashes that may wait for a core; what comes on top is UNAVAILABLE, and may be tried again.
const QUEUE: usize = 64;

/// Memory in KiB, passes, lanes: OWASP Password Storage Cheat Sheet, argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Cost {
    pub const OWASP: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
}

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PasswordHasher {
    argon2: Argon2<'static>,
    cost: Cost,
    permits: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Verified where the account is unknown, so that the answer takes as long.
    dummy: Arc<str>,
}

impl PasswordHasher {
    pub fn new(cost: Cost) -> Result<Self> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(Error::internal)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash(&argon2, "a password that nobody has")?.into();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = (cores / 2).max(1);
        let (permits, queue) = (Arc::new(Semaphore::new(at_once)), Arc::new(Semaphore::new(QUEUE)));
        Ok(Self { argon2, cost, permits, queue, dummy })
    }

    /// The PHC string to store.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.on_a_core(move || hash(&argon2, &password)).await?
    }

    /// Whether the password is the stored one; for an unknown account (`None`) no, after the same work.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.dummy).to_owned();
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let matches = self
            .on_a_core(move || {
                let stored = PasswordHash::new(&stored).map_err(Error::internal)?;
                Ok::<_, Error>(argon2.verify_password(password.as_bytes(), &stored).is_ok())
            })
            .await??;
        Ok(matches && known)
    }

    /// Whether a stored hash was made with other settings than today's.
    pub fn is_outdated(&self, stored: &str) -> bool {
        let Ok(hash) = PasswordHash::new(stored) else {
            return true;
        };
        let now = |name, wanted| hash.params.get_decimal(name) == Some(wanted);
        !(hash.algorithm.as_str() == "argon2id"
            && now("m", self.cost.memory_kib)
            && now("t", self.cost.passes)
            && now("p", self.cost.lanes))
    }

    async fn on_a_core<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let waiting = self.queue.try_acquire().map_err(|_| {
            Refusal::new(Code::Unavailable, "Too many passwords are being checked at once; try again shortly.")
        })?;
        let permit = self.permits.clone().acquire_owned().await.map_err(Error::internal)?;
        drop(waiting);
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
        .map_err(Error::internal)
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String> {
    Ok(argon2.hash_password(password.as_bytes()).map_err(Error::internal)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(Cost { memory_kib: 8, passes: 1, lanes: 1 }).expect("a hasher")
    }

    /// Two hundred sign-ins whose clients hung up took 19 MiB each, all at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_permit_is_held_as_long_as_the_work() {
        let hasher = hasher();
        let cores = hasher.permits.available_permits();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let running: Vec<_> = (0..cores)
            .map(|_| {
                let (hasher, wait) = (hasher.clone(), wait.clone());
                let work = move || wait.lock().map(|wait| wait.recv().is_ok()).unwrap_or_default();
                tokio::spawn(async move { hasher.on_a_core(work).await })
            })
            .collect();
        while hasher.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for task in running {
            task.abort();
            assert!(task.await.is_err(), "hung up");
        }
        assert_eq!(hasher.permits.available_permits(), 0, "the work goes on, and so does its permit");
        for _ in 0..cores {
            release.send(()).expect("somebody waits");
        }
        while hasher.permits.available_permits() < cores {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        let hasher = hasher();
        let cores = u32::try_from(hasher.permits.available_permits()).expect("few");
        let all = hasher.permits.clone().acquire_many_owned(cores).await.expect("every core");
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(hasher.verify("password", None))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one).is_pending());
        }
        let Err(error) = hasher.verify("password", None).await else { panic!("the queue is full") };
        assert!(matches!(&error, Error::Refused(refusal) if refusal.code == Code::Unavailable), "{}", error.describe());
        drop(waiting);
        drop(all);
        assert!(!hasher.verify("password", None).await.expect("there is room again"));
    }
}
