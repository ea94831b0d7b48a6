//! Passwords: argon2id with OWASP's parameters, off the async threads, as many at a time as there are cores.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Shortest and longest password, in characters (NIST SP 800-63B asks for at least 8).
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

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
    /// Verified where the account is unknown, so that the answer takes as long.
    dummy: Arc<str>,
}

impl PasswordHasher {
    pub fn new(cost: Cost) -> Result<Self> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(Error::internal)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash(&argon2, "a password that nobody has")?.into();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { argon2, cost, permits: Arc::new(Semaphore::new(cores)), dummy })
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
        let _permit = self.permits.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String> {
    Ok(argon2.hash_password(password.as_bytes()).map_err(Error::internal)?.to_string())
}
