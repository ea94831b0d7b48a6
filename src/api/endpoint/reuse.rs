//! Answers that are given again instead of made again.

use async_graphql::{Request, Response};
use bytes::Bytes;

use super::{Answer, Api, MINIMUM_COST, Reuse, admission::Admitted, fingerprint};
use crate::{
    api::answer_cache::{ETag, Found},
    data::db::OrgScope,
    graphql::response::text_of,
};

impl Api {
    /// Gives the answer that was kept of the same request, where nothing it is made of has changed; else runs the request.
    /// What is given again costs what it cost, and a point where the client has it.
    pub(super) async fn reuse(&self, request: Request, admitted: Admitted, reuse: &Reuse) -> Answer {
        let scope = admitted.caller.scope.clone().filter(|_| admitted.valid.is_of_ledger);
        let found = match &scope {
            Some(scope) => Box::pin(self.find_kept(scope, &request)).await,
            None => Found::Nothing,
        };
        let place = match found {
            Found::Answer(kept) => {
                let Admitted { valid, caller, taken, mut charge, .. } = admitted;
                charge.actual = if reuse.has(&kept.etag) { MINIMUM_COST } else { kept.cost };
                if let Some(taken) = taken {
                    charge.level = Some(self.state.rate_limit.settle(&taken, charge.actual));
                }
                let answer = Answer::new(Response::default(), Some(valid), caller, charge);
                return answer.written(kept.text.clone(), kept.etag.clone(), reuse);
            }
            Found::Place(place) => Some(place),
            Found::Nothing => None,
        };
        let answer = self.run(request, admitted).await;
        let kept = match (place, &scope) {
            (Some(place), Some(scope)) => self.answers.keep(&place, scope, &answer.response, answer.charge.actual),
            _ => None,
        };
        match kept {
            Some(kept) => answer.written(kept.text.clone(), kept.etag.clone(), reuse),
            None if reuse.has_etag && answer.response.errors.is_empty() => {
                let text = Bytes::from(text_of(&answer.response));
                let etag = ETag::of(&text);
                answer.written(text, etag, reuse)
            }
            None => answer,
        }
    }

    /// What is kept of a request. Where that can't be read, the request runs, and says what is wrong.
    async fn find_kept(&self, scope: &OrgScope, request: &Request) -> Found {
        let Ok(fingerprint) = fingerprint(request) else { return Found::Nothing };
        self.answers.find(scope, &fingerprint).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.describe(), "the version of answers can't be read");
            Found::Nothing
        })
    }
}
