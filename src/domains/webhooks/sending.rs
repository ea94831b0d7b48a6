//! One attempt: the request as Standard Webhooks has it (<https://www.standardwebhooks.com>), and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, USER_AGENT},
};
use serde_json::json;
use tracing::Span;

use crate::{
    base::{
        clock::{Clock, Instant, format_instant},
        error::{Error, Result},
        id::{AnyId, OrganizationId, WebhookId},
        secret::{self, SealedColumn, ServerSecret, WEBHOOK, WEBHOOK_PREVIOUS},
        signature::SharedSecret,
        trace,
    },
    data::{
        db::deliveries::Next,
        entity::{webhook, webhook_attempt, webhook_delivery},
    },
    platform::outgoing::{Answer, KEPT_BYTES, Outgoing, Post, Refused, SendError, Slot},
};

/// Where a webhook's secret is kept, and the one before its last rotation.
pub fn place(column: SealedColumn, organization: OrganizationId, id: WebhookId) -> secret::Place {
    secret::Place::new(column, Some(organization), id)
}

/// The longest that a receiver may ask to wait (`Retry-After`).
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Waits differ by up to this part, so that what failed together doesn't come back together.
const JITTER: f64 = 0.2;

/// Before a delivery that this server had no room for is tried again; up to a fifth longer.
const POSTPONED_BY: Duration = Duration::from_secs(5);

const AGENT: &str = concat!("todo-platform/", env!("CARGO_PKG_VERSION"));

/// Sends for one webhook: its address and secrets, as they are for now.
#[derive(Clone)]
pub struct Sender {
    outgoing: Outgoing,
    clock: Clock,
    webhook_id: WebhookId,
    url: String,
    /// The present one, and during a rotation's grace the one before.
    secrets: Vec<SharedSecret>,
}

/// What an attempt says of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Failed {
        /// How long the receiver asks to wait.
        retry_after: Option<Duration>,
    },
    /// It says that it is gone for good (410).
    Gone,
    /// Nothing was sent, since this server had no room for it: that says nothing of the receiver.
    Unsent,
}

/// An attempt that was made.
#[derive(Clone, Debug)]
pub struct Attempted {
    pub attempt: webhook_attempt::Model,
    pub verdict: Verdict,
    /// When it ended.
    pub at: Instant,
}

impl Sender {
    pub fn new(webhook: &webhook::Model, outgoing: &Outgoing, secret: &ServerSecret, clock: &Clock) -> Result<Self> {
        let open = |column, sealed: &[u8]| {
            SharedSecret::open(secret, &place(column, webhook.organization_id, webhook.id), sealed)
        };
        let grace = webhook.previous_until.is_some_and(|until| until > clock.now());
        let mut secrets = vec![open(WEBHOOK, &webhook.secret)?];
        if let Some(previous) = webhook.previous_secret.as_ref().filter(|_| grace) {
            secrets.push(open(WEBHOOK_PREVIOUS, previous)?);
        }
        Ok(Self {
            outgoing: outgoing.clone(),
            clock: clock.clone(),
            webhook_id: webhook.id,
            url: webhook.url.clone(),
            secrets,
        })
    }

    /// Makes one attempt; takes as long as the limits of [`Outgoing`] allow. `place` is free
    /// again once the answer is there.
    pub async fn attempt(
        &self,
        delivery: &webhook_delivery::Model,
        content: Content,
        place: Slot,
    ) -> Result<Attempted> {
        let started_at = self.clock.now();
        let headers = self.headers(delivery, started_at, &content)?;
        let began = tokio::time::Instant::now();
        let organization_id = delivery.organization_id;
        let sent = self.outgoing.send(Post { organization_id, url: &self.url, headers, body: content.body }).await;
        drop(place);
        let mut attempt = webhook_attempt::Model {
            organization_id: delivery.organization_id,
            delivery_id: delivery.id,
            number: delivery.attempt_count + 1,
            started_at,
            duration_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
            response_status: None,
            response_body: None,
            error: None,
        };
        let at = self.clock.now();
        let verdict = match sent {
            Ok(answer) => {
                attempt.response_status = Some(answer.status.as_u16().into());
                attempt.response_body = Some(shown(&answer.body));
                attempt.error =
                    answer.status.is_redirection().then(|| "redirects are not followed: change the URL".to_owned());
                judge(&answer, at)
            }
            Err(error) => {
                attempt.error = Some(shown(error.to_string().as_bytes()));
                tracing::debug!(webhook = %self.webhook_id, %error, "a delivery failed");
                match error {
                    SendError::Refused(Refused::Busy) => Verdict::Unsent,
                    _ => Verdict::Failed { retry_after: None },
                }
            }
        };
        Ok(Attempted { attempt, verdict, at })
    }

    fn headers(&self, delivery: &webhook_delivery::Model, at: Instant, content: &Content) -> Result<HeaderMap> {
        let (id, timestamp) = (delivery.id.to_string(), at.timestamp());
        let signatures: Vec<String> =
            self.secrets.iter().map(|secret| secret.sign(&id, timestamp, &content.body)).collect::<Result<_>>()?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut set = |name: &'static str, value: String| -> Result<()> {
            let value = HeaderValue::from_str(&value).map_err(Error::internal)?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        set("webhook-id", id)?;
        set("webhook-timestamp", timestamp.to_string())?;
        set("webhook-signature", signatures.join(" "))?;
        if let Some(sequence) = delivery.sequence {
            set("webhook-sequence", sequence.to_string())?;
        }
        if let Some(traceparent) = trace::traceparent(&Span::current()) {
            set("traceparent", traceparent)?;
        }
        if let Some(key) = &content.ordering_key {
            set("webhook-ordering-key", key.to_string())?;
        }
        Ok(headers)
    }
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub body: Bytes,
    /// The same for all events of one item, else of one subject: its id.
    pub ordering_key: Option<AnyId>,
}

/// A test.
pub fn ping(delivery: &webhook_delivery::Model) -> Content {
    let (webhook, at) = (delivery.webhook_id, format_instant(delivery.created_at));
    let body = json!({ "type": "ping", "timestamp": at, "data": { "webhookId": webhook } });
    Content { body: body.to_string().into(), ordering_key: None }
}

/// Text as both databases take it, [`KEPT_BYTES`] at most: cut between two characters, here and where the bytes were cut.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(without_half(bytes)).replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(KEPT_BYTES));
    text
}

/// Without the beginning of a character at the end.
fn without_half(bytes: &[u8]) -> &[u8] {
    let is_rest = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let rest = bytes.iter().rev().take(3).take_while(|byte| is_rest(byte)).count();
    let Some(first) = bytes.len().checked_sub(rest + 1) else { return bytes };
    let length = match bytes[first] {
        0b1100_0000..0b1110_0000 => 2,
        0b1110_0000..0b1111_0000 => 3,
        0b1111_0000.. => 4,
        _ => 1,
    };
    if length > rest + 1 { &bytes[..first] } else { bytes }
}

fn judge(answer: &Answer, now: Instant) -> Verdict {
    match answer.status {
        status if status.is_success() => Verdict::Accepted,
        StatusCode::GONE => Verdict::Gone,
        _ => Verdict::Failed { retry_after: answer.retry_after.as_deref().and_then(|text| wait(text, now)) },
    }
}

/// Seconds, or a date.
fn wait(text: &str, now: Instant) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    at.signed_duration_since(now).to_std().ok()
}

/// What becomes of a delivery. `schedule` has the wait before each attempt, the first one's being none: after the last of
/// them it is given up.
pub fn next(attempted: &Attempted, schedule: &[Duration]) -> Next {
    let retry_after = match attempted.verdict {
        Verdict::Accepted => return Next::Delivered,
        Verdict::Gone => return Next::Dead,
        Verdict::Unsent => {
            let wait = POSTPONED_BY.mul_f64(1.0 + JITTER * fastrand::f64());
            return Next::Postponed(attempted.at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::seconds(5)));
        }
        Verdict::Failed { retry_after } => retry_after,
    };
    let made = usize::try_from(attempted.attempt.number).unwrap_or(usize::MAX);
    let Some(wait) = schedule.get(made) else { return Next::Dead };
    let wait = wait.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0));
    // The receiver may ask for more patience than the schedule has, within bounds.
    let wait = retry_after.map_or(wait, |asked| wait.max(asked.min(LONGEST_WAIT)));
    Next::Retry(attempted.at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1)))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::base::id::Id;

    fn failed(number: i32, retry_after: Option<u64>) -> Attempted {
        let at = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        Attempted {
            attempt: webhook_attempt::Model {
                organization_id: Id::from_uuid(Uuid::nil()),
                delivery_id: Id::from_uuid(Uuid::nil()),
                number,
                started_at: at,
                duration_ms: 1,
                response_status: Some(500),
                response_body: None,
                error: None,
            },
            verdict: Verdict::Failed { retry_after: retry_after.map(Duration::from_secs) },
            at,
        }
    }

    fn waits(attempted: &Attempted) -> Option<i64> {
        let schedule = [0, 5, 300].map(Duration::from_secs);
        match next(attempted, &schedule) {
            Next::Retry(at) => Some((at - attempted.at).num_milliseconds()),
            Next::Dead => None,
            Next::Delivered | Next::Postponed(_) => panic!("it failed"),
        }
    }

    #[test]
    fn waits_follow_the_schedule_within_a_fifth() {
        for _ in 0..200 {
            assert!((4_000..=6_000).contains(&waits(&failed(1, None)).expect("a second attempt")));
            assert!((240_000..=360_000).contains(&waits(&failed(2, None)).expect("a third attempt")));
        }
        assert_eq!(waits(&failed(3, None)), None, "the schedule is over");
        assert_eq!(waits(&failed(3, Some(60))), None, "whatever the receiver asks for");
    }

    #[test]
    fn a_receiver_may_ask_for_more_patience_within_bounds() {
        assert_eq!(waits(&failed(1, Some(60))), Some(60_000));
        assert!(waits(&failed(1, Some(1))).expect("an attempt") >= 4_000, "not for less than the schedule");
        assert_eq!(waits(&failed(1, Some(u64::MAX))), Some(24 * 60 * 60 * 1000));
        let mut gone = failed(1, None);
        gone.verdict = Verdict::Gone;
        assert_eq!(waits(&gone), None);
    }

    #[test]
    fn answers_are_cut_between_characters() {
        let long = |text: &str| text.repeat(KEPT_BYTES).into_bytes()[..KEPT_BYTES].to_vec();
        for text in ["é", "€", "😀", "a€", "ab😀"] {
            let cut = shown(&long(text));
            assert!(cut.len() <= KEPT_BYTES && cut.len() > KEPT_BYTES - 4 && !cut.contains('\u{fffd}'), "{text}");
        }
        let binary = shown(&[0xff; KEPT_BYTES]);
        assert!(binary.len() <= KEPT_BYTES && binary.chars().all(|c| c == '\u{fffd}'));
        assert_eq!(shown(b"a\0\x80b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(shown(b""), "");
        assert_eq!(shown(&[0x80, 0x80, 0x80, 0x80]), "\u{fffd}".repeat(4));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(1_445_412_420, 0).expect("a time");
        assert_eq!(wait("120", now), Some(Duration::from_secs(120)));
        assert_eq!(wait(" Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(wait("Wed, 21 Oct 2014 07:28:00 GMT", now), None, "long ago");
        assert_eq!(wait("soon", now), None);
        assert_eq!(wait("-3", now), None);
    }
}
