//! Random tokens, their hashes, and what is kept encrypted in the database.

use std::{fmt::Display, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base::{
    error::{Error, Result},
    id::OrganizationId,
};

/// `N` bytes from the system's generator.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(bytes)
}

/// A token of 256 bits, base64url: unguessable, so that a plain hash of it is enough to store.
pub fn new_token() -> Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// What is stored of a token.
pub fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A column that holds sealed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    /// `table.column`.
    pub name: &'static str,
    /// What the key of its values is derived for.
    purpose: &'static str,
}

/// Keys that sign access tokens; the one table without an organization.
pub const SIGNING_KEY: SealedColumn = SealedColumn { name: "signing_key.secret", purpose: "signing-key" };
pub const WEBHOOK: SealedColumn = SealedColumn { name: "webhook.secret", purpose: "webhook-secret" };
pub const WEBHOOK_PREVIOUS: SealedColumn = SealedColumn { name: "webhook.previous_secret", purpose: "webhook-secret" };
pub const INBOUND_HOOK: SealedColumn = SealedColumn { name: "inbound_hook.secret", purpose: "inbound-hook-secret" };
pub const INBOUND_HOOK_PREVIOUS: SealedColumn =
    SealedColumn { name: "inbound_hook.previous_secret", purpose: "inbound-hook-secret" };

/// Where a sealed value stands. It is authenticated with the value, so that one moved to another organization, row or
/// column doesn't open.
#[derive(Clone, Debug)]
pub struct Place {
    column: SealedColumn,
    organization: Option<OrganizationId>,
    id: String,
}

impl Place {
    /// `organization`: whose row it is; none of a table that no organization owns.
    pub fn new(column: SealedColumn, organization: Option<OrganizationId>, id: impl Display) -> Self {
        Self { column, organization, id: id.to_string() }
    }

    /// No part can hold the separator.
    fn associated_data(&self) -> Vec<u8> {
        let organization = self.organization.map(|id| id.to_string()).unwrap_or_default();
        format!("{}\0{organization}\0{}", self.column.name, self.id).into_bytes()
    }
}

/// What a sealed value begins with, followed by the id of its secret.
const SEALED: &[u8] = b"tps2";
const SECRET_ID: usize = 8;
const NONCE: usize = 24;

/// The server's secret (`SECRET_KEY`), from which each use derives a key of its own; and those before it
/// (`SECRET_KEY_OLD`), which still open and verify.
#[derive(Clone)]
pub struct ServerSecret {
    present: Arc<OneSecret>,
    old: Arc<[OneSecret]>,
}

struct OneSecret {
    bytes: Vec<u8>,
    /// Tells the secrets apart, and nothing about them.
    id: Vec<u8>,
}

impl std::fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerSecret(…)")
    }
}

impl OneSecret {
    fn new(bytes: Vec<u8>) -> Self {
        let id = hmac(&bytes, b"secret-id")[..SECRET_ID].to_vec();
        Self { bytes, id }
    }

    /// HMAC-SHA256 of the use's name: keys of different uses tell nothing about each other.
    fn derive(&self, purpose: &str) -> [u8; 32] {
        hmac(&self.bytes, purpose.as_bytes())
    }

    fn cipher(&self, purpose: &str) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.derive(purpose).into())
    }

    fn decrypt(&self, purpose: &str, sealed: &[u8], associated: &[u8]) -> Option<Vec<u8>> {
        let (nonce, msg) = sealed.split_at_checked(NONCE)?;
        self.cipher(purpose).decrypt(XNonce::from_slice(nonce), Payload { msg, aad: associated }).ok()
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl ServerSecret {
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self { present: Arc::new(OneSecret::new(secret.into())), old: Arc::new([]) }
    }

    /// With secrets of before, which still open and verify; what is new is made with the present one.
    #[must_use]
    pub fn with_old<S: Into<Vec<u8>>>(self, old: impl IntoIterator<Item = S>) -> Self {
        Self { old: old.into_iter().map(|secret| OneSecret::new(secret.into())).collect(), ..self }
    }

    fn each(&self) -> impl Iterator<Item = &OneSecret> {
        std::iter::once(&*self.present).chain(self.old.iter())
    }

    /// Tells the present secret from others, and nothing about it.
    pub fn id(&self) -> &[u8] {
        &self.present.id
    }

    /// The key of one use under each secret that is accepted, the present one first.
    pub(crate) fn derive_each(&self, purpose: &str) -> Vec<[u8; 32]> {
        self.each().map(|secret| secret.derive(purpose)).collect()
    }

    /// The refresh token that follows another: the same whoever asks, and nobody else can tell it from the one before.
    pub fn successor(&self, token: &str) -> String {
        successor(&self.present, token)
    }

    /// [`ServerSecret::successor`] under each secret that is accepted, the present one first.
    pub fn successors(&self, token: &str) -> Vec<String> {
        self.each().map(|secret| successor(secret, token)).collect()
    }

    /// HMAC-SHA256 of a message under the present secret, for one use: it tells that this server has made the message.
    pub fn tag(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        hmac(&self.present.derive(purpose), message)
    }

    /// Whether a message has this tag under any secret that is accepted. Takes the same time for every wrong one.
    pub fn is_tag(&self, purpose: &str, message: &[u8], tag: &[u8]) -> bool {
        self.each().fold(false, |known, secret| {
            let own = hmac(&secret.derive(purpose), message);
            known | bool::from(own.as_slice().ct_eq(tag))
        })
    }

    /// Encrypts for the database: XChaCha20-Poly1305 under the present secret, whose id is in front, then the random nonce.
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce = random::<NONCE>()?;
        let payload = Payload { msg: plain, aad: &place.associated_data() };
        let cipher = self.present.cipher(place.column.purpose);
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(Error::internal)?;
        Ok([SEALED, &self.present.id, &nonce, &sealed].concat())
    }

    /// The reverse of [`ServerSecret::seal`], under any secret that is accepted. Values of before had no secret's id and
    /// were bound to their purpose and row alone; they open too, until they are sealed anew.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<Vec<u8>> {
        let purpose = place.column.purpose;
        if let Some((id, rest)) = sealed.strip_prefix(SEALED).and_then(|rest| rest.split_at_checked(SECRET_ID)) {
            let mut named = self.each().filter(|secret| secret.id == id);
            if let Some(plain) = named.find_map(|secret| secret.decrypt(purpose, rest, &place.associated_data())) {
                return Ok(plain);
            }
        }
        let opened = self.each().find_map(|secret| secret.decrypt(purpose, sealed, place.id.as_bytes()));
        opened.ok_or_else(|| {
            Error::internal(format!(
                "{} does not decrypt: was SECRET_KEY changed without SECRET_KEY_OLD?",
                place.column.name
            ))
        })
    }

    /// Whether a value is sealed as [`ServerSecret::seal`] seals today, under the present secret.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.strip_prefix(SEALED).is_some_and(|rest| rest.starts_with(&self.present.id))
    }
}

fn successor(secret: &OneSecret, token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(hmac(&secret.derive("refresh-token"), token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const FIRST: &str = "a secret of thirty-two bytes or more";
    const SECOND: &str = "another secret of thirty-two bytes";

    fn place(column: SealedColumn, organization: u128, id: &str) -> Place {
        Place::new(column, Some(OrganizationId::from_uuid(Uuid::from_u128(organization))), id)
    }

    /// As the releases before sealed.
    fn sealed_before(secret: &str, place: &Place, plain: &[u8]) -> Vec<u8> {
        let nonce = random::<NONCE>().expect("randomness");
        let cipher = OneSecret::new(secret.into()).cipher(place.column.purpose);
        let payload = Payload { msg: plain, aad: place.id.as_bytes() };
        [nonce.as_slice(), &cipher.encrypt(XNonce::from_slice(&nonce), payload).expect("sealed")].concat()
    }

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let secret = ServerSecret::new(FIRST);
        let here = place(WEBHOOK, 1, "whk_1");
        let sealed = secret.seal(&here, b"plain").expect("sealed");
        assert_eq!(secret.open(&here, &sealed).expect("its own"), b"plain");
        for there in [
            place(WEBHOOK, 2, "whk_1"),
            place(WEBHOOK, 1, "whk_2"),
            place(WEBHOOK_PREVIOUS, 1, "whk_1"),
            place(INBOUND_HOOK, 1, "whk_1"),
            Place::new(WEBHOOK, None, "whk_1"),
        ] {
            assert!(secret.open(&there, &sealed).is_err(), "{there:?}");
        }
    }

    #[test]
    fn secrets_of_before_open_and_seal_nothing() {
        let here = place(WEBHOOK, 1, "whk_1");
        let (first, second) = (ServerSecret::new(FIRST), ServerSecret::new(SECOND));
        let sealed = first.seal(&here, b"plain").expect("sealed");
        assert!(second.open(&here, &sealed).is_err());
        let both = ServerSecret::new(SECOND).with_old([FIRST]);
        assert_eq!(both.open(&here, &sealed).expect("under the old one"), b"plain");
        assert!(first.is_current(&sealed) && !both.is_current(&sealed));
        let again = both.seal(&here, b"plain").expect("sealed");
        assert!(both.is_current(&again) && second.open(&here, &again).is_ok() && first.open(&here, &again).is_err());
    }

    #[test]
    fn values_of_the_releases_before_open() {
        let here = place(WEBHOOK, 1, "whk_1");
        let sealed = sealed_before(FIRST, &here, b"plain");
        let secret = ServerSecret::new(FIRST);
        assert_eq!(secret.open(&here, &sealed).expect("its own"), b"plain");
        assert!(!secret.is_current(&sealed));
        assert!(secret.open(&place(WEBHOOK, 1, "whk_2"), &sealed).is_err());
        assert!(ServerSecret::new(SECOND).with_old([FIRST]).open(&here, &sealed).is_ok());
    }
}
