//! Whether a callback comes from whom its hook is for. Signatures are of the raw bytes, comparisons take the same time
//! for everything that is wrong.

use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::base::{
    clock::Instant,
    enums::InboundProvider,
    signature::{Forged, SharedSecret, hexadecimal_hmac, is_timely},
};

/// Longer ids of deliveries are known by their hash.
const MAX_DELIVERY_ID: usize = 200;

/// A callback that is the sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// As the sender names it; `sha256:…` of what is longer than [`MAX_DELIVERY_ID`] bytes.
    pub delivery_id: Option<String>,
    /// Of the body, where the delivery's id is not signed: with another id the same body is still the same.
    pub body_key: Option<String>,
    /// What kind of event the sender says it is; of a generic one nothing.
    pub event: String,
}

/// Checks a callback against each secret that is good now. Every proof that the headers hold is looked at, whoever the
/// provider is, so that the time it takes tells nothing of the hook, or of whether there is one ([`verify_nobody`]).
pub fn verify(
    provider: InboundProvider,
    secrets: &[SharedSecret],
    headers: &HeaderMap,
    body: &[u8],
    now: Instant,
) -> Result<Verified, Forged> {
    let signed = standard(secrets, headers, body, now);
    let github = headers.get("x-hub-signature-256").and_then(|given| given.to_str().ok());
    let is_github = github.is_some_and(|given| any(secrets, |secret| is_github(secret.text().as_bytes(), body, given)));
    let token = text(headers, "x-gitlab-token");
    let has_token = any(secrets, |secret| token.as_bytes().ct_eq(secret.text().as_bytes()).into());
    let of_body = || hex::encode(Sha256::digest(body));
    match provider {
        InboundProvider::Generic => {
            signed.unwrap_or(Err(Forged::Signature))?;
            Ok(Verified { delivery_id: id(headers, "webhook-id"), body_key: None, event: String::new() })
        }
        InboundProvider::Github if is_github => {
            let event = text(headers, "x-github-event").to_owned();
            Ok(Verified { delivery_id: id(headers, "x-github-delivery"), body_key: Some(of_body()), event })
        }
        InboundProvider::Github => Err(Forged::Signature),
        InboundProvider::Gitlab => {
            let is_signed = signed.is_some();
            // Newer ones sign; where a signature comes it must be good.
            signed.unwrap_or(if has_token { Ok(()) } else { Err(Forged::Signature) })?;
            let event = text(headers, "x-gitlab-event").to_owned();
            let delivery_id = id(headers, "webhook-id").or_else(|| id(headers, "idempotency-key"));
            Ok(Verified { delivery_id, body_key: (!is_signed).then(of_body), event })
        }
    }
}

/// The same for an address that nobody has: nothing is right, and it takes as long.
pub fn verify_nobody(headers: &HeaderMap, body: &[u8], now: Instant) -> Forged {
    if let Ok(nobody) = SharedSecret::new() {
        let _ = verify(InboundProvider::Github, &[nobody], headers, body, now);
    }
    Forged::Signature
}

/// What a signature of Standard Webhooks says; `None` without one.
fn standard(secrets: &[SharedSecret], headers: &HeaderMap, body: &[u8], now: Instant) -> Option<Result<(), Forged>> {
    let signature = headers.get("webhook-signature")?.to_str().unwrap_or_default();
    let id = text(headers, "webhook-id");
    let timestamp = text(headers, "webhook-timestamp").parse().unwrap_or_default();
    if !any(secrets, |secret| secret.verifies(id, timestamp, body, signature)) || id.is_empty() {
        return Some(Err(Forged::Signature));
    }
    Some(if is_timely(timestamp, now) { Ok(()) } else { Err(Forged::Time) })
}

/// `sha256=` and the HMAC in hexadecimal (GitHub: validating webhook deliveries).
fn is_github(secret: &[u8], body: &[u8], given: &str) -> bool {
    let Ok(own) = hexadecimal_hmac(secret, &[body]) else { return false };
    given.as_bytes().ct_eq(format!("sha256={own}").as_bytes()).into()
}

/// Tries every secret, whichever is right.
fn any(secrets: &[SharedSecret], is_right: impl Fn(&SharedSecret) -> bool) -> bool {
    secrets.iter().fold(false, |found, secret| found | is_right(secret))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn id(headers: &HeaderMap, name: &str) -> Option<String> {
    let id = text(headers, name).trim();
    match id.len() {
        0 => None,
        1..=MAX_DELIVERY_ID => Some(id.to_owned()),
        // Without one the same callback would be done as often as it comes.
        _ => Some(format!("sha256:{}", hex::encode(Sha256::digest(id)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of GitHub's documentation.
    #[test]
    fn github_signs_the_body() {
        let secret = b"It's a Secret to Everybody";
        let given = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_github(secret, b"Hello, World!", given));
        assert!(!is_github(secret, b"Hello, World?", given));
        assert!(!is_github(b"another", b"Hello, World!", given));
        for wrong in ["", "sha256=", &given[7..], &given.replace("sha256", "sha1")] {
            assert!(!is_github(secret, b"Hello, World!", wrong), "{wrong}");
        }
    }
}
