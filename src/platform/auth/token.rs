//! Access tokens: short-lived JWTs, signed by one key of a ring, verified by any. They say who, never what they may do:
//! roles come from the database with each request.
//!
//! HS256 alone is compiled in (`jsonwebtoken` lets us bring the one algorithm), so there is no algorithm to confuse.

use std::{
    collections::HashMap,
    sync::{Arc, Once, PoisonError, RwLock},
};

use chrono::Duration;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::ErrorKind,
};
use moka::sync::Cache;
use sea_orm::{ActiveValue::Set, Condition, prelude::*};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use signature::{Signer, Verifier};
use tokio::sync::Mutex;

use crate::{
    base::{
        cache_use::{CacheUse, Looks, Measure},
        clock::{Clock, Instant},
        error::{Error, Result},
        id::{SessionId, UserId},
        secret::{self, Place, ServerSecret},
    },
    data::{
        actor::Origin,
        db::{AccountTx, Db},
        entity::signing_key,
    },
};

const ISSUER: &str = "todo-platform";
const AUDIENCE: &str = "todo-platform-api";
/// The `typ` of RFC 9068: a token of another use is none.
const TYPE: &str = "at+jwt";
/// How far clocks of instances may differ.
const LEEWAY: Duration = Duration::seconds(30);
/// How often every instance reads the ring again; until then it may sign with a key that was replaced.
pub const REFRESH: std::time::Duration = std::time::Duration::from_secs(30);
/// The longest life of an access token; the configuration allows no longer one.
const LONGEST_LIFE: Duration = Duration::minutes(15);
/// Invented key ids must not become a load on the database: one look for an unknown key in so long.
const LOOK_AGAIN: Duration = Duration::seconds(1);

/// Tokens whose signature is known at once, about 300 bytes each; the least used go first.
const KNOWN_TOKENS: u64 = 20_000;

/// How long a replaced key is still accepted: until the last token that an instance may sign with it has ended for all.
fn retirement() -> Result<Duration> {
    Ok(LONGEST_LIFE + Duration::from_std(REFRESH).map_err(Error::internal)? + LEEWAY)
}

/// Where a key of the ring is kept.
pub fn place(id: &str) -> Place {
    Place::new(secret::SIGNING_KEY, None, id)
}

/// What a token says. All of it is required; times are seconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    pub sid: SessionId,
    pub iss: String,
    pub aud: String,
    pub exp: i64,
    pub nbf: i64,
    pub jti: String,
}

/// Signs with the newest key, accepts all that are not retired. Kept in the database, encrypted, and read again every
/// [`REFRESH`] and when a token names a key this instance hasn't seen, so that rotating needs no restart.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<RwLock<Keys>>,
    /// When an unknown key was last looked for.
    looked_at: Arc<Mutex<Option<Instant>>>,
    /// What was signed by a key of the ring, by its SHA-256: read and checked once, not with every request. Key and times
    /// are looked at each time.
    signed: Cache<[u8; 32], Arc<Signed>>,
    looks: Arc<Looks>,
    db: Db,
    secret: ServerSecret,
    clock: Clock,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, Key>,
    signing: String,
}

/// A token's contents, with the key that signed it.
struct Signed {
    kid: String,
    claims: Claims,
}

struct Key {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Accepted until then; `None`: it signs.
    retired_at: Option<Instant>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRing(…)")
    }
}

impl KeyRing {
    /// Reads the ring; makes its first key where there is none.
    pub async fn load(db: &Db, secret: &ServerSecret) -> Result<Self> {
        install_hs256();
        let ring = Self {
            keys: Arc::default(),
            looked_at: Arc::default(),
            signed: Cache::new(KNOWN_TOKENS),
            looks: Arc::default(),
            db: db.clone(),
            secret: secret.clone(),
            clock: db.clock().clone(),
        };
        ring.refresh().await?;
        if ring.locked(|keys| keys.signing.is_empty()) {
            ring.rotate().await?;
        }
        Ok(ring)
    }

    /// A new key, which signs from now on; gives its id. The keys before it are accepted for as long as tokens signed
    /// with them may live, a quarter of an hour and a minute, and then dropped.
    pub async fn rotate(&self) -> Result<String> {
        use signing_key::{ActiveModel, Column, Entity};
        let id = self.clock.new_uuid().simple().to_string();
        let sealed = self.secret.seal(&place(&id), &secret::random::<32>()?)?;
        let tx = AccountTx::begin(&self.db, &Origin::command("signing-key")).await?;
        let now = self.clock.now();
        // Locks the whole ring, so that of rotations at once each retires the key of the one before. Of the unretired alone,
        // those that waited would find nothing to lock, and go on side by side.
        tx.find::<Entity>(Condition::all()).await?;
        let retired = vec![(Column::RetiredAt, Expr::value(now + retirement()?))];
        tx.update_where::<Entity>(Column::RetiredAt.is_null(), retired).await?;
        tx.delete_where::<Entity>(Column::RetiredAt.lte(now)).await?;
        tx.insert(ActiveModel {
            id: Set(id.clone()),
            secret: Set(sealed),
            created_at: Set(now),
            retired_at: Set(None),
        })
        .await?;
        tx.commit(crate::data::entity::ActorRef::SYSTEM, ()).await?;
        self.refresh().await?;
        Ok(id)
    }

    /// Reads the ring again.
    pub async fn refresh(&self) -> Result<()> {
        use signing_key::{Column, Entity};
        let accepted = Condition::any().add(Column::RetiredAt.is_null()).add(Column::RetiredAt.gt(self.clock.now()));
        let rows = self.db.find_global::<Entity>(accepted).await?;
        let mut by_id = HashMap::new();
        for row in &rows {
            let key = self.secret.open(&place(&row.id), &row.secret)?;
            let key = Key {
                encoding: EncodingKey::from_secret(&key),
                decoding: DecodingKey::from_secret(&key),
                retired_at: row.retired_at,
            };
            by_id.insert(row.id.clone(), key);
        }
        let newest = rows.iter().filter(|row| row.retired_at.is_none()).max_by_key(|row| (row.created_at, &row.id));
        let signing = newest.map(|row| row.id.clone()).unwrap_or_default();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.by_id = by_id;
        keys.signing = signing;
        Ok(())
    }

    /// Reads the ring for a key that isn't known, if it was not just read for another such. Who comes meanwhile waits, so
    /// that of many tokens of a new key none is refused.
    async fn look_for(&self, id: &str) -> Result<()> {
        let mut looked_at = self.looked_at.lock().await;
        let now = self.clock.now();
        // In either direction: a clock that jumped back must not stop this until it has caught up.
        let just_now = looked_at.is_some_and(|at| (now - at).abs() < LOOK_AGAIN);
        if just_now || self.knows(id) {
            return Ok(());
        }
        *looked_at = Some(now);
        self.refresh().await
    }

    fn knows(&self, id: &str) -> bool {
        self.locked(|keys| keys.by_id.contains_key(id))
    }

    fn locked<T>(&self, f: impl FnOnce(&Keys) -> T) -> T {
        f(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A token for a session, and when it ends.
    pub fn sign(&self, user_id: UserId, session_id: SessionId, ttl: std::time::Duration) -> Result<(String, Instant)> {
        let now = self.clock.now();
        let expires_at = now + Duration::from_std(ttl).map_err(Error::internal)?;
        let claims = Claims {
            sub: user_id,
            sid: session_id,
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            exp: expires_at.timestamp(),
            nbf: now.timestamp(),
            jti: self.clock.new_uuid().simple().to_string(),
        };
        let token = self.locked(|keys| {
            let mut header = Header::new(Algorithm::HS256);
            header.typ = Some(TYPE.to_owned());
            header.kid = Some(keys.signing.clone());
            let key = keys.by_id.get(&keys.signing).ok_or_else(|| Error::internal("the key ring is empty"))?;
            jsonwebtoken::encode(&header, &claims, &key.encoding).map_err(Error::internal)
        })?;
        Ok((token, expires_at))
    }

    /// What a token is worth now, by this instance's clock.
    pub async fn verify(&self, token: &str) -> Result<Verified> {
        let Some(signed) = self.signed(token).await? else { return Ok(Verified::Bad) };
        let now = self.clock.now();
        if !self.locked(|keys| keys.accepted(&signed.kid, now).is_some()) {
            return Ok(Verified::Bad);
        }
        let (claims, now, leeway) = (&signed.claims, now.timestamp(), LEEWAY.num_seconds());
        Ok(if now < claims.nbf.saturating_sub(leeway) {
            Verified::NotYet
        } else if now < claims.exp.saturating_add(leeway) {
            Verified::Good { user: claims.sub, session: claims.sid, expires_at: claims.exp }
        } else {
            Verified::Bad
        })
    }

    /// How the cache of tokens is used whose signature is known.
    pub fn cache_use(&self) -> CacheUse {
        self.looks.with(&self.signed, "tokens", Measure::Entries)
    }

    /// A token's contents, where a key of the ring has signed them.
    async fn signed(&self, token: &str) -> Result<Option<Arc<Signed>>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(signed) = self.looks.count(self.signed.get(&digest)) {
            return Ok(Some(signed));
        }
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
        let (Some(kid), Some(TYPE)) = (header.kid, header.typ.as_deref()) else { return Ok(None) };
        if !self.knows(&kid) {
            self.look_for(&kid).await?;
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are compared by `verify`, against the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let now = self.clock.now();
        let claims = self.locked(|keys| {
            let key = keys.accepted(&kid, now)?;
            jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).ok().map(|token| token.claims)
        });
        let Some(claims) = claims else { return Ok(None) };
        let signed = Arc::new(Signed { kid, claims });
        self.signed.insert(digest, signed.clone());
        Ok(Some(signed))
    }
}

impl Keys {
    /// A key of the ring, until it is retired.
    fn accepted(&self, id: &str, now: Instant) -> Option<&Key> {
        self.by_id.get(id).filter(|key| key.retired_at.is_none_or(|end| now < end))
    }
}

/// What a token is worth.
#[derive(Debug)]
pub enum Verified {
    /// A session's, until then, in seconds since the epoch.
    Good { user: UserId, session: SessionId, expires_at: i64 },
    /// Ours, of a later time than now: the clock of the instance that signed it is ahead of this one's, or this one's is
    /// behind.
    NotYet,
    /// Anything else, on purpose without a reason.
    Bad,
}

struct Hs256(Hmac<Sha256>);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

fn hs256(algorithm: Algorithm, key: &[u8]) -> jsonwebtoken::errors::Result<Box<Hs256>> {
    if algorithm != Algorithm::HS256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Hmac::new_from_slice(key).map(|mac| Box::new(Hs256(mac))).map_err(|_| ErrorKind::InvalidKeyFormat.into())
}

static HS256_ONLY: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(hs256(*algorithm, key.as_bytes())?),
    verifier_factory: |algorithm, key| Ok(hs256(*algorithm, key.try_get_as_bytes()?)?),
    key_utils: KeyUtils::new_unimplemented(),
};

fn install_hs256() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where another provider is there already, and no other is compiled in.
        let _ = HS256_ONLY.install_default();
    });
}
