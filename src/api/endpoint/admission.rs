//! What must hold before anything runs: a valid document, a good credential or none, points for what it costs.

use async_graphql::{Request, Value, parser::types::OperationType};
use serde_json::json;

use std::sync::Arc;

use super::{Answer, Api, Envelope, MINIMUM_COST, fingerprint};
use crate::{
    api::{
        cost::Dearest,
        processor::Meter,
        validation::{ValidRequest, registered::DOCUMENT_ID},
    },
    base::error::{Code, Error, Refusal, Result},
    data::{
        actor::Origin,
        db::{idempotency::Idempotency, identity::OrganizationChoice},
    },
    domains::document_sets,
    graphql::context::Charge,
    platform::{
        auth::session::{Caller, LookUps},
        rate_limit::{Allowance, Refused, Taken},
    },
};

/// An operation that may run.
pub(super) struct Prepared {
    pub(super) valid: Arc<ValidRequest>,
    pub(super) caller: Caller,
    pub(super) origin: Origin,
    pub(super) taken: Option<Taken>,
}

impl Api {
    /// Validation, credentials and rate limit: whatever must pass before anything runs.
    pub(super) async fn prepare(
        &self,
        request: &mut Request,
        envelope: &Envelope,
        answer: &mut Answer,
    ) -> Result<Prepared> {
        let mut origin = envelope.origin.clone();
        let (valid, caller) = match self.admit(request, envelope, &mut origin, answer).await {
            Ok(admitted) => admitted,
            Err(error) => return Err(self.reject(error, &envelope.origin, &mut answer.charge).await),
        };
        answer.scope.clone_from(&caller.scope);
        answer.organization = caller.scope.as_ref().map(|scope| scope.organization_id());
        answer.actor = caller.identified.as_ref().map(|identified| identified.actor().any_id());
        envelope.meter.belongs_to(caller.consumer(&envelope.origin)).await;
        let allowance = self.state.rate_limit.of_caller(&caller, &envelope.origin);
        let taken = self.charge(allowance, &valid, &mut answer.charge).await?;
        if let (Some(idempotency), Some(identified)) = (&origin.idempotency, &caller.identified) {
            let organization_id = caller.scope.as_ref().map(|scope| scope.organization_id());
            idempotency.belongs_to(organization_id, identified.actor());
        }
        Ok(Prepared { valid, caller, origin, taken })
    }

    /// Lets a client in that has no operation yet: whether its credential, where it has one, is good. Guesses cost their
    /// address like others.
    pub async fn check_credential(&self, envelope: &Envelope) -> Result<()> {
        match self.authenticate(envelope).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.reject(error, &envelope.origin, &mut Charge::default()).await),
        }
    }

    fn may_look_up(&self, envelope: &Envelope) -> Result<(), Refused> {
        let limiter = &self.state.rate_limit;
        match &envelope.credential {
            Some(credential) => limiter.may_look_up(credential, limiter.of_address(&envelope.origin)),
            None => Ok(()),
        }
    }

    /// Who a client is. A refusal (UNAUTHENTICATED) for a credential that isn't good any more.
    pub async fn authenticate(&self, envelope: &Envelope) -> Result<Caller> {
        self.caller(envelope, &envelope.origin, true, true).await
    }

    /// What must hold before anything is charged to a caller: a document that validation passes, and a good credential or
    /// none.
    async fn admit(
        &self,
        request: &mut Request,
        envelope: &Envelope,
        origin: &mut Origin,
        answer: &mut Answer,
    ) -> Result<(Arc<ValidRequest>, Caller)> {
        let named = self.find_document(request, envelope, origin).await?;
        let valid = Arc::new(self.check(request, &envelope.meter).await?);
        let is_mutation = valid.operation == OperationType::Mutation;
        answer.valid = Some(valid.clone());
        if valid.operation == OperationType::Subscription && !envelope.can_stream {
            let message =
                "Subscriptions run over a WebSocket (graphql-transport-ws) or with `Accept: text/event-stream`.";
            return Err(Refusal::bad_request(message).into());
        }
        if envelope.is_read_only && is_mutation {
            answer.wrong_method = true;
            return Err(Refusal::bad_request("Mutations may not be sent with GET; use POST.").into());
        }
        if is_mutation {
            envelope.meter.stays().await;
            origin.idempotency = idempotency(request, envelope.idempotency_key.as_deref())?.map(Arc::new);
        }
        match self.caller(envelope, origin, valid.needs_caller, !is_mutation).await {
            Ok(caller) => {
                if !named {
                    refuse_other_documents(&caller, &request.query).await?;
                }
                Ok((valid, caller))
            }
            Err(error) => {
                if matches!(&error, Error::Refused(refusal) if refusal.code == Code::RateLimited) {
                    // By what is left to its address: the headers say so.
                    let limiter = &self.state.rate_limit;
                    answer.charge.level = Some(limiter.level(limiter.of_address(&envelope.origin)));
                }
                Err(error)
            }
        }
    }

    /// Puts the document in the request that it names by an id of the caller's organization; whether it does.
    /// PERSISTED_QUERY_NOT_FOUND where the organization, or the set that the caller's key is bound to, has none of this id.
    async fn find_document(&self, request: &mut Request, envelope: &Envelope, origin: &Origin) -> Result<bool> {
        let Some(id) = self.validation.other_id(request) else { return Ok(false) };
        // Without a good credential it is validation that says what is wrong.
        if envelope.credential.is_none() {
            return Ok(false);
        }
        let caller = self.caller(envelope, origin, true, true).await?;
        let Some(scope) = &caller.scope else { return Ok(false) };
        let Some(text) = document_sets::query::named(scope, caller.document_set(), id).await? else { return Ok(false) };
        request.query = text;
        request.extensions.remove(DOCUMENT_ID);
        request.extensions.remove("persistedQuery");
        Ok(true)
    }

    /// Validation's check; of a document that is not known, on its address's account.
    async fn check(&self, request: &mut Request, meter: &Meter) -> Result<ValidRequest> {
        if self.validation.knows(request) {
            return self.validation.check(request);
        }
        meter.before_document().await;
        meter.document(|| self.validation.check(request))
    }

    /// Takes what the operation costs at most, before it runs. RATE_LIMITED when that is not there now,
    /// QUERY_TOO_COMPLEX when it never will be.
    async fn charge(&self, allowance: Allowance, valid: &ValidRequest, charge: &mut Charge) -> Result<Option<Taken>> {
        let cost = valid.cost.max(MINIMUM_COST);
        charge.requested = cost;
        if allowance.capacity == 0 {
            return Ok(None);
        }
        let is_too_dear = cost > allowance.capacity.into();
        let asked = if is_too_dear { MINIMUM_COST } else { cost };
        match self.state.rate_limit.take(allowance, asked).await {
            Ok(taken) => {
                charge.level = Some(taken.level);
                if is_too_dear {
                    Err(valid.prices.too_dear(allowance.capacity.into(), self.validation.dearest_of(valid)).into())
                } else {
                    Ok(Some(taken))
                }
            }
            Err(refused) => {
                charge.level = Some(refused.level);
                Err(rate_limited(&refused, self.validation.dearest_of(valid)).into())
            }
        }
    }

    /// What is refused before a caller is known costs its address a point; without one left it is RATE_LIMITED instead.
    /// So neither broken documents nor guessed credentials come for nothing.
    pub async fn reject(&self, error: Error, origin: &Origin, charge: &mut Charge) -> Error {
        // A fault of ours is not charged.
        let Error::Refused(refusal) = error else { return error };
        let limiter = &self.state.rate_limit;
        let allowance = limiter.of_address(origin);
        if allowance.capacity == 0 || refusal.code == Code::RateLimited {
            return refusal.into();
        }
        (charge.requested, charge.actual) = (MINIMUM_COST, MINIMUM_COST);
        match limiter.take(allowance, MINIMUM_COST).await {
            Ok(taken) => {
                charge.level = Some(taken.level);
                refusal.into()
            }
            Err(refused) => {
                charge.level = Some(refused.level);
                rate_limited(&refused, Dearest::default()).into()
            }
        }
    }

    /// Who is calling. A credential that is not good stops a query; a mutation of public fields alone (signing in,
    /// refreshing) is answered whatever stale token a client still sends.
    async fn caller(&self, envelope: &Envelope, origin: &Origin, needed: bool, is_query: bool) -> Result<Caller> {
        let credential = envelope.credential.as_ref();
        let (path, header) = &envelope.organization;
        let choice = path.as_deref().or(header.as_deref()).map(OrganizationChoice::parse);
        let may = || self.may_look_up(envelope).map_err(|refused| rate_limited(&refused, Dearest::default()).into());
        let found = || credential.into_iter().for_each(|credential| self.state.rate_limit.was_good(credential));
        let look_ups = LookUps { may: &may, found: &found };
        let caller = match self.authenticator.authenticate(credential, choice.as_ref(), origin, &look_ups).await {
            Err(Error::Refused(refusal)) if !needed && (!is_query || refusal.code != Code::Unauthenticated) => {
                return Ok(Caller::default());
            }
            authenticated => authenticated?,
        };
        if !needed {
            return Ok(caller);
        }
        if let (Some(path), Some(header)) = (path, header) {
            let same = match caller.scope.as_ref().map(|scope| scope.organization()) {
                Some(organization) => [path, header].iter().all(|name| match OrganizationChoice::parse(name) {
                    OrganizationChoice::Id(id) => id == organization.id,
                    OrganizationChoice::Slug(slug) => slug == organization.slug,
                }),
                None => path.eq_ignore_ascii_case(header),
            };
            if !same {
                let message = "The path and the header `X-Organization` name different organizations.";
                return Err(Refusal::bad_request(message).into());
            }
        }
        Ok(caller)
    }
}

/// FORBIDDEN for a document that is not in the set which the caller's API key is bound to.
async fn refuse_other_documents(caller: &Caller, text: &str) -> Result<()> {
    let (Some(set), Some(scope)) = (caller.document_set(), &caller.scope) else { return Ok(()) };
    if document_sets::query::holds(scope, set, text).await? {
        return Ok(());
    }
    let message =
        "This API key runs the documents of its set alone: register this one, or send another's `documentId`.";
    Err(Refusal::new(Code::Forbidden, message).into())
}

/// RATE_LIMITED: the points are not there now, with the dearest part, where there is one.
fn rate_limited(refused: &Refused, dearest: Dearest) -> Refusal {
    let Refused { points, level, whose } = refused;
    let (limit, remaining) = (level.capacity, level.remaining());
    let seconds = (level.wait_for(*points) + 999) / 1000;
    let whose = match *whose {
        "address" => "requests without good credentials from one address",
        _ => "one caller in one organization",
    };
    let message = format!(
        "This asks for {points} points, and {remaining} are left of the {limit} a minute for {whose}; try again in \
         {seconds} s."
    );
    let mut details = json!({
        "limit": limit, "remaining": remaining, "requestedCost": points, "retryAfterSeconds": seconds,
    });
    if !dearest.path.is_empty() {
        details["dearestPath"] = dearest.path.into();
    }
    Refusal::new(Code::RateLimited, message).details(details).about(dearest.coordinate)
}

/// The idempotency key of a mutation, by header or by extension, with the request's fingerprint.
fn idempotency(request: &Request, header: Option<&str>) -> Result<Option<Idempotency>> {
    let extension = match request.extensions.get("idempotencyKey") {
        None => None,
        Some(Value::String(key)) => Some(key.as_str()),
        Some(_) => return Err(Refusal::bad_request("`extensions.idempotencyKey` must be a string.").into()),
    };
    let key = match (header, extension) {
        (Some(header), Some(extension)) if header != extension => {
            let message = "The header `Idempotency-Key` and `extensions.idempotencyKey` differ.";
            return Err(Refusal::bad_request(message).into());
        }
        (header, extension) => header.or(extension),
    };
    key.map(|key| Idempotency::new(key, fingerprint(request)?)).transpose()
}
