//! Random tokens, their hashes, and what is kept encrypted in the database.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

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

/// The server's secret (`SECRET_KEY`), from which each use derives a key of its own.
#[derive(Clone)]
pub struct ServerSecret(Vec<u8>);

impl std::fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerSecret(…)")
    }
}

impl ServerSecret {
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self(secret.into())
    }

    /// HMAC-SHA256 of the use's name: keys of different uses tell nothing about each other.
    pub(super) fn derive(&self, purpose: &str) -> Result<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).map_err(Error::internal)?;
        mac.update(purpose.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// The refresh token that follows another: the same whoever asks, and nobody else can tell it from the one before.
    pub fn successor(&self, token: &str) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.derive("refresh-token")?).map_err(Error::internal)?;
        mac.update(token.as_bytes());
        Ok(BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// [`ServerSecret::successor`] under each secret that is accepted, the present one first.
    pub fn successors(&self, token: &str) -> Result<Vec<String>> {
        Ok(vec![self.successor(token)?])
    }

    /// Encrypts for the database: XChaCha20-Poly1305, the random nonce in front. `purpose` and `id` are authenticated,
    /// so that a value moved to another row or column doesn't decrypt.
    pub fn seal(&self, purpose: &str, id: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce = random::<24>()?;
        let cipher = XChaCha20Poly1305::new(&self.derive(purpose)?.into());
        let payload = Payload { msg: plain, aad: id.as_bytes() };
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(Error::internal)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The reverse of [`ServerSecret::seal`]; fails under another `SECRET_KEY`.
    pub fn open(&self, purpose: &str, id: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, sealed) =
            sealed.split_at_checked(24).ok_or_else(|| Error::internal("a sealed value is too short"))?;
        let cipher = XChaCha20Poly1305::new(&self.derive(purpose)?.into());
        cipher
            .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: id.as_bytes() })
            .map_err(|_| Error::internal("a stored secret does not decrypt: was SECRET_KEY changed?"))
    }
}
