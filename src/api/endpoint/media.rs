//! The media types of answers (<https://graphql.github.io/graphql-over-http/draft/#sec-Media-Types>).

use axum::http::{HeaderMap, header};

/// How the answer is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`: 200 for every well-formed request.
    Json,
    /// `application/graphql-response+json`: a status that tells.
    GraphqlResponse,
}

impl Media {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// The media type that the client likes best; `None` when it takes neither.
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let accepted: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accepted = accepted.join(",");
        if accepted.trim().is_empty() {
            return Some(Self::Json);
        }
        // Quality and place of the most specific range that covers a media type, as RFC 9110 has it.
        let liking = |media: &str| {
            let ranges = accepted.split(',').enumerate().filter_map(|(place, range)| {
                let mut parts = range.split(';').map(str::trim);
                let specific = match parts.next()?.to_ascii_lowercase().as_str() {
                    "*/*" => 0,
                    "application/*" => 1,
                    name if name == media => 2,
                    _ => return None,
                };
                let quality = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('=')?.parse().ok());
                Some((specific, quality.unwrap_or(1.0_f32), place))
            });
            ranges.max_by_key(|(specific, ..)| *specific).filter(|(_, quality, _)| *quality > 0.0)
        };
        match (liking("application/json"), liking("application/graphql-response+json")) {
            (Some((_, json, json_place)), Some((_, telling, place)))
                if telling > json || telling == json && place < json_place =>
            {
                Some(Self::GraphqlResponse)
            }
            (None, Some(_)) => Some(Self::GraphqlResponse),
            (Some(_), _) => Some(Self::Json),
            (None, None) => None,
        }
    }
}
