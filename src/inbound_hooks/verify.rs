//! Whether a callback comes from whom its hook is for. Signatures are of the raw bytes, comparisons take the same time
//! for everything that is wrong.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    auth::signature::{SharedSecret, is_timely},
    clock::Instant,
    entity::enums::InboundProvider,
};

/// Longer ids of deliveries are none.
const MAX_DELIVERY_ID: usize = 200;

/// A callback that is the sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// As the sender names it.
    pub delivery_id: Option<String>,
    /// Of the body, where the delivery's id is not signed: with another id the same body is still the same.
    pub body_key: Option<String>,
    /// What kind of event the sender says it is; of a generic one nothing.
    pub event: String,
}

/// Why a callback is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// Also where no hook was found: the two are never told apart.
    Signature,
    /// Signed, but not now.
    Time,
}

impl Forged {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Signature => "The signature is not this hook's.",
            Self::Time => "The signed time is more than 5 minutes off.",
        }
    }
}

/// Checks a callback against each secret that is good now.
pub fn verify(
    provider: InboundProvider,
    secrets: &[SharedSecret],
    headers: &HeaderMap,
    body: &[u8],
    now: Instant,
) -> Result<Verified, Forged> {
    let of_body = || Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match provider {
        InboundProvider::Generic => {
            standard(secrets, headers, body, now)?;
            Ok(Verified { delivery_id: id(headers, "webhook-id"), body_key: None, event: String::new() })
        }
        InboundProvider::Github => {
            let given = text(headers, "x-hub-signature-256");
            if !any(secrets, |secret| is_github(secret.text().as_bytes(), body, given)) {
                return Err(Forged::Signature);
            }
            let event = text(headers, "x-github-event").to_owned();
            Ok(Verified { delivery_id: id(headers, "x-github-delivery"), body_key: Some(of_body()), event })
        }
        InboundProvider::Gitlab => {
            let token = text(headers, "x-gitlab-token");
            let has_token = any(secrets, |secret| token.as_bytes().ct_eq(secret.text().as_bytes()).into());
            // Newer ones sign; where a signature comes it must be good.
            let is_signed = headers.contains_key("webhook-signature");
            if is_signed {
                standard(secrets, headers, body, now)?;
            } else if !has_token {
                return Err(Forged::Signature);
            }
            let event = text(headers, "x-gitlab-event").to_owned();
            let ids = ["webhook-id", "idempotency-key", "x-gitlab-event-uuid"];
            let delivery_id = ids.into_iter().find_map(|name| id(headers, name));
            Ok(Verified { delivery_id, body_key: (!is_signed).then(of_body), event })
        }
    }
}

/// As long as [`verify`] takes, for an address that nobody has.
pub fn verify_nobody(headers: &HeaderMap, body: &[u8], now: Instant) -> Forged {
    let Ok(nobody) = SharedSecret::new() else { return Forged::Signature };
    let provider = match headers {
        headers if headers.contains_key("x-hub-signature-256") => InboundProvider::Github,
        headers if headers.contains_key("x-gitlab-event") => InboundProvider::Gitlab,
        _ => InboundProvider::Generic,
    };
    let _ = verify(provider, &[nobody], headers, body, now);
    Forged::Signature
}

fn standard(secrets: &[SharedSecret], headers: &HeaderMap, body: &[u8], now: Instant) -> Result<(), Forged> {
    let (id, signature) = (text(headers, "webhook-id"), text(headers, "webhook-signature"));
    let timestamp = text(headers, "webhook-timestamp").parse().map_err(|_| Forged::Signature)?;
    if id.is_empty() || !any(secrets, |secret| secret.verifies(id, timestamp, body, signature)) {
        return Err(Forged::Signature);
    }
    if is_timely(timestamp, now) { Ok(()) } else { Err(Forged::Time) }
}

/// `sha256=` and the HMAC in hexadecimal (GitHub: validating webhook deliveries).
fn is_github(secret: &[u8], body: &[u8], given: &str) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    let own: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
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
    (1..=MAX_DELIVERY_ID).contains(&id.len()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of GitHub's documentation.
    #[test]
    fn github_signs_the_body() {
        let secret = b"It's a Secret to Everybody";
        let given = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b04e17e";
        assert!(is_github(secret, b"Hello, World!", given));
        assert!(!is_github(secret, b"Hello, World?", given));
        assert!(!is_github(b"another", b"Hello, World!", given));
        for wrong in ["", "sha256=", &given[7..], &given.replace("sha256", "sha1")] {
            assert!(!is_github(secret, b"Hello, World!", wrong), "{wrong}");
        }
    }
}
