//! The media types of answers (<https://graphql.github.io/graphql-over-http/draft/#sec-Media-Types>).

use axum::http::{HeaderMap, header};
use mediatype::{
    MediaType, MediaTypeList, Name, ReadParams as _,
    names::{self, _STAR, APPLICATION, Q},
};

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

    /// The media type that the client likes best; `None` when it takes neither. Ranges that can't be read count for nothing.
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let accepted: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accepted = accepted.join(",");
        if accepted.trim().is_empty() {
            return Some(Self::Json);
        }
        // Quality and place of the most specific range that covers a media type, as RFC 9110 has it.
        let liking = |media: MediaType<'static>| {
            let ranges = MediaTypeList::new(&accepted).enumerate().filter_map(|(place, range)| {
                let range = range.ok()?;
                let specific = if range.essence() == media {
                    2
                } else if range.ty == media.ty && range.subty == _STAR {
                    1
                } else if range.ty == _STAR && range.subty == _STAR {
                    0
                } else {
                    return None;
                };
                let quality = range.get_param(Q).and_then(|quality| quality.unquoted_str().parse().ok());
                Some((specific, quality.unwrap_or(1.0_f32), place))
            });
            ranges.max_by_key(|(specific, ..)| *specific).filter(|(_, quality, _)| *quality > 0.0)
        };
        match (liking(JSON), liking(GRAPHQL_RESPONSE)) {
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

const JSON: MediaType<'static> = MediaType::new(APPLICATION, names::JSON);
const GRAPHQL_RESPONSE: MediaType<'static> =
    MediaType::from_parts(APPLICATION, Name::new_unchecked("graphql-response"), Some(names::JSON), &[]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_type_that_can_be_written_is_chosen() {
        let (json, telling) = (Some(Media::Json), Some(Media::GraphqlResponse));
        for (accept, expected) in [
            ("", json),
            ("*/*", json),
            ("application/json", json),
            ("APPLICATION/JSON", json),
            ("application/graphql-response+json", telling),
            ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", telling),
            ("application/json, application/graphql-response+json", json),
            ("application/json;q=0.5, application/graphql-response+json;q=0.9", telling),
            ("application/graphql-response+json;q=0, application/json;q=0.1", json),
            ("application/graphql-response+json;Q=0.2, */*;q=0.1", telling),
            ("application/*;q=0.3, text/html", json),
            ("text/html", None),
            ("text/html, application/json;q=0", None),
            // A comma within quotes ends nothing.
            ("text/plain; note=\"a, application/json\"", None),
            ("application/json; note=\"a, b\"; q=0.1, application/graphql-response+json;q=0.2", telling),
            // What can't be read counts for nothing.
            ("application, application/json", json),
            (";;;", None),
        ] {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            }
            assert_eq!(Media::negotiate(&headers), expected, "{accept}");
        }
    }
}
