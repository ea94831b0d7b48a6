//! Signatures of webhooks, as Standard Webhooks has them (<https://www.standardwebhooks.com>): secrets `whsec_…`, and
//! HMAC-SHA256 of `id.timestamp.body`. Both directions use it: deliveries are signed, callbacks verified.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::secret::{self, Place, ServerSecret};
use crate::base::{
    clock::Instant,
    error::{Error, Result},
};

/// What every secret starts with.
pub const PREFIX: &str = "whsec_";

/// Seconds that a signed time may lie in the past or in the future.
pub const TOLERANCE_SECONDS: i64 = 300;

/// A secret shared with another system. It is kept encrypted, since signing takes the secret itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Vec<u8>);

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

impl SharedSecret {
    /// 256 bits.
    pub fn new() -> Result<Self> {
        Ok(Self(secret::random::<32>()?.to_vec()))
    }

    /// As it is shown, once.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(&self.0))
    }

    /// For this place in the database.
    pub fn seal(&self, server: &ServerSecret, place: &Place) -> Result<Vec<u8>> {
        server.seal(place, &self.0)
    }

    /// The reverse of [`SharedSecret::seal`].
    pub fn open(server: &ServerSecret, place: &Place, sealed: &[u8]) -> Result<Self> {
        Ok(Self(server.open(place, sealed)?))
    }

    /// `v1,…`, for the header `webhook-signature`.
    ///
    /// Not by the standard's library: it signs text alone, and what a sender has signed may be any bytes.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<String> {
        let signed = hmac(&self.0, &[id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body])?;
        Ok(format!("v1,{}", BASE64_STANDARD.encode(signed)))
    }

    /// Whether one of the signatures in a `webhook-signature` header is this secret's. Takes the same time for every wrong
    /// one. The caller checks the time.
    pub fn verifies(&self, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
        let Ok(own) = self.sign(id, timestamp, body) else { return false };
        header.split(' ').fold(false, |found, given| found | bool::from(given.as_bytes().ct_eq(own.as_bytes())))
    }
}

/// HMAC-SHA256 of the parts, one after the other, in hexadecimal: as GitHub and Stripe sign.
pub fn hexadecimal_hmac(secret: &[u8], parts: &[&[u8]]) -> Result<String> {
    Ok(hex::encode(hmac(secret, parts)?))
}

fn hmac(secret: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(Error::internal)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Why a callback is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// Also where nobody is found whose signature it could be: the two are never told apart.
    Signature,
    /// Signed, but not now.
    Time,
}

/// Whether a signed time is near enough to now.
pub fn is_timely(timestamp: i64, now: Instant) -> bool {
    now.timestamp().abs_diff(timestamp) <= TOLERANCE_SECONDS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference libraries.
    fn known() -> SharedSecret {
        SharedSecret(BASE64_STANDARD.decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("base64"))
    }
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    #[test]
    fn signs_as_the_reference_does() {
        assert_eq!(known().sign(ID, 1_649_367_553, BODY).expect("text"), SIGNATURE);
    }

    #[test]
    fn verifies_any_of_several_signatures_and_nothing_else() {
        let among = format!("v1,bm9wZQ== v2,abc {SIGNATURE}");
        assert!(known().verifies(ID, 1_649_367_553, BODY, &among));
        assert!(!known().verifies(ID, 1_649_367_554, BODY, &among), "another time");
        assert!(!known().verifies("msg_2", 1_649_367_553, BODY, &among), "another id");
        assert!(!known().verifies(ID, 1_649_367_553, b"{}", &among), "another body");
        for header in ["", "v1,", "v1", "v1,tZ1I4", &SIGNATURE.replace("v1", "v2")] {
            assert!(!known().verifies(ID, 1_649_367_553, BODY, header), "{header}");
        }
        assert!(!SharedSecret::new().expect("randomness").verifies(ID, 1_649_367_553, BODY, SIGNATURE));
    }

    #[test]
    fn a_secret_survives_the_database() {
        let server = ServerSecret::new("a secret of thirty-two bytes or more");
        let secret = SharedSecret::new().expect("randomness");
        let place = |id| Place::new(secret::WEBHOOK, None, id);
        let sealed = secret.seal(&server, &place("whk_1")).expect("sealed");
        assert_eq!(SharedSecret::open(&server, &place("whk_1"), &sealed).expect("its own"), secret);
        assert!(SharedSecret::open(&server, &place("whk_2"), &sealed).is_err(), "another row's");
        assert!(secret.text().starts_with(PREFIX));
    }

    /// The vector of GitHub's documentation (validating webhook deliveries).
    #[test]
    fn hexadecimal_hmacs_are_those_of_github() {
        let secret = b"It's a Secret to Everybody";
        let known = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(hexadecimal_hmac(secret, &[b"Hello, World!"]).expect("text"), known);
        assert_eq!(hexadecimal_hmac(secret, &[b"Hello", b", World!"]).expect("text"), known);
    }

    #[test]
    fn times_are_near_or_not() {
        let now = chrono::DateTime::from_timestamp(1_000_000, 0).expect("a time");
        for (at, near) in [(1_000_000, true), (999_700, true), (1_000_300, true), (999_699, false), (1_000_301, false)]
        {
            assert_eq!(is_timely(at, now), near, "{at}");
        }
        assert!(!is_timely(i64::MIN, now));
    }
}
