//! API keys: `tdp_<look-up>_<secret>_<checksum>`, the parts base62.
//!
//! The look-up part finds the row, the secret is stored as a keyed hash alone, and the checksum (CRC-32 of all before it,
//! as GitHub's tokens have it) tells a mistyped key, and a scanner of leaked secrets, without asking the database.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::base::{
    error::{Error, Result},
    secret::{self, ServerSecret},
};

/// What every key starts with.
pub const PREFIX: &str = "tdp_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 95 bits: unique without a check, and no secret.
const LOOKUP_LENGTH: usize = 16;
/// 256 bits.
const SECRET_LENGTH: usize = 43;
/// 32 bits of CRC in base62.
const CHECKSUM_LENGTH: usize = 6;
/// Characters of the key that may be shown again: prefix and look-up part's beginning.
const HINT_LENGTH: usize = 12;

/// Makes and reads keys; holds the keys of their hashes.
#[derive(Clone)]
pub struct KeyMint {
    /// Under the present secret, by which new keys are hashed.
    present: Hmac<Sha256>,
    /// Under those before it.
    old: Vec<Hmac<Sha256>>,
    /// The present secret's.
    secret_id: Vec<u8>,
}

impl std::fmt::Debug for KeyMint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMint(…)")
    }
}

/// A new key: the text is shown once, the rest is stored.
#[derive(Clone)]
pub struct Minted {
    pub text: String,
    pub lookup: String,
    pub hash: Vec<u8>,
}

/// A key as somebody presented it, its checksum tested.
#[derive(Clone)]
pub struct Presented {
    pub lookup: String,
    /// Under the present secret.
    hash: Vec<u8>,
    /// Under those before it.
    old: Vec<Vec<u8>>,
}

impl Presented {
    /// Whether it is the key of this stored hash, under whichever secret; takes the same time for every wrong one.
    pub fn matches(&self, stored: &[u8]) -> bool {
        let each = std::iter::once(&self.hash).chain(&self.old);
        each.fold(false, |found, hash| found | bool::from(hash.ct_eq(stored)))
    }

    /// What is to be stored of it, under the present secret.
    pub fn hash(&self) -> &[u8] {
        &self.hash
    }
}

impl KeyMint {
    pub fn new(secret: &ServerSecret) -> Result<Self> {
        let keys = secret.derive_each("api-key");
        let mut hashers = Vec::with_capacity(keys.len());
        for key in keys {
            hashers.push(Hmac::new_from_slice(&key).map_err(Error::internal)?);
        }
        let present = hashers.remove(0);
        Ok(Self { present, old: hashers, secret_id: secret.id().to_vec() })
    }

    /// Which secret new keys are hashed under.
    pub fn secret_id(&self) -> &[u8] {
        &self.secret_id
    }

    /// A key of its own look-up part.
    pub fn mint(&self) -> Result<Minted> {
        self.mint_for(random(LOOKUP_LENGTH)?)
    }

    /// A new secret for a key that keeps its look-up part.
    pub fn mint_for(&self, lookup: String) -> Result<Minted> {
        let secret = random(SECRET_LENGTH)?;
        let body = format!("{PREFIX}{lookup}_{secret}");
        let text = format!("{body}_{}", checksum(&body));
        Ok(Minted { hash: hash(&self.present, &lookup, &secret), text, lookup })
    }

    /// A key of the right form and checksum.
    pub fn read(&self, text: &str) -> Option<Presented> {
        let (body, sum) = text.rsplit_once('_')?;
        let (lookup, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
        let formed = lookup.len() == LOOKUP_LENGTH
            && secret.len() == SECRET_LENGTH
            && lookup.bytes().chain(secret.bytes()).all(|byte| byte.is_ascii_alphanumeric());
        if !formed || checksum(body) != sum {
            return None;
        }
        let old = self.old.iter().map(|key| hash(key, lookup, secret)).collect();
        Some(Presented { lookup: lookup.to_owned(), hash: hash(&self.present, lookup, secret), old })
    }
}

/// Keyed, so that a stolen database alone gives nothing to try keys against.
fn hash(key: &Hmac<Sha256>, lookup: &str, secret: &str) -> Vec<u8> {
    let mac = key.clone().chain_update(lookup).chain_update("_").chain_update(secret);
    mac.finalize().into_bytes().to_vec()
}

/// What may be shown of a key to recognize it.
pub fn hint(lookup: &str) -> String {
    format!("{PREFIX}{lookup}").chars().take(HINT_LENGTH).collect()
}

/// Evenly distributed characters from the system's generator.
fn random(length: usize) -> Result<String> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for byte in secret::random::<64>()? {
            // 248 is the last multiple of 62: above it some characters would come more often.
            if byte < 248 && text.len() < length {
                text.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    Ok(text)
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mint() -> KeyMint {
        KeyMint::new(&ServerSecret::new("a secret of thirty-two bytes or more")).expect("a key")
    }

    #[test]
    fn a_key_is_read_back() {
        let minted = mint().mint().expect("randomness");
        let presented = mint().read(&minted.text).expect("its own key");
        assert_eq!(presented.lookup, minted.lookup);
        assert!(presented.matches(&minted.hash));
    }

    #[test]
    fn a_slip_in_any_place_is_noticed() {
        let minted = mint().mint().expect("randomness");
        for place in 0..minted.text.len() {
            let mut bytes = minted.text.clone().into_bytes();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            let slipped = String::from_utf8(bytes).expect("still ASCII");
            assert!(mint().read(&slipped).is_none(), "{slipped}");
        }
        assert!(mint().read(&minted.text[..minted.text.len() - 1]).is_none());
        assert!(mint().read("").is_none());
    }

    #[test]
    fn the_hash_hangs_on_the_servers_secret() {
        let minted = mint().mint().expect("randomness");
        let other = KeyMint::new(&ServerSecret::new("another secret of thirty-two bytes")).expect("a key");
        assert!(!other.read(&minted.text).expect("well-formed").matches(&minted.hash));
    }
}
