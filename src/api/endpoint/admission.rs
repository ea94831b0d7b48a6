//! What must hold before anything runs: a valid document, a good credential or none, points for what it costs.

use async_graphql::{Request, Value, parser::types::OperationType};
use serde_json::json;

use std::sync::Arc;

use super::{Api, Envelope, MINIMUM_COST, fingerprint};
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

/// Whose document a request names by its id.
enum Named {
    /// The caller's organization's; the request has its text now.
    Found,
    /// Nobody's that this caller can name. It was looked up.
    Unknown(Caller),
    /// The server's, or the request has its document with it.
    Otherwise,
}

/// An operation whose document is valid, and may come this way.
struct Validated {
    valid: Arc<ValidRequest>,
    /// With the key of a mutation that has one.
    origin: Origin,
    /// Whether the document is one of the caller's organization, named by its id.
    is_named: bool,
}

/// That, and who sent it.
struct Authenticated {
    valid: Arc<ValidRequest>,
    caller: Caller,
    origin: Origin,
}

/// That, and its points are taken: an operation that may run.
pub(super) struct Admitted {
    pub(super) valid: Arc<ValidRequest>,
    pub(super) caller: Caller,
    pub(super) origin: Origin,
    pub(super) taken: Option<Taken>,
    pub(super) charge: Charge,
}

/// Why an operation does not run, and what was known of it by then.
pub(super) struct Stopped {
    pub(super) error: Error,
    pub(super) valid: Option<Arc<ValidRequest>>,
    pub(super) caller: Caller,
    pub(super) charge: Charge,
}

impl Api {
    /// Validation, credentials and rate limit, in this order: whatever must pass before anything runs.
    pub(super) async fn admit(&self, request: &mut Request, envelope: &Envelope) -> Result<Admitted, Box<Stopped>> {
        let validated = self.validate(request, envelope).await?;
        let authenticated = self.identify(validated, request, envelope).await?;
        self.charge(authenticated, envelope).await
    }

    async fn validate(&self, request: &mut Request, envelope: &Envelope) -> Result<Validated, Box<Stopped>> {
        let (is_named, asked_by) = match self.find_document(request, envelope).await? {
            Named::Found => (true, Caller::default()),
            Named::Unknown(caller) => (false, caller),
            Named::Otherwise => (false, Caller::default()),
        };
        let valid = match self.check(request, &envelope.meter).await {
            Ok(valid) => Arc::new(valid),
            Err(error) => return Err(self.stop(error, None, asked_by, envelope).await),
        };
        match claim_of(&valid, request, envelope) {
            Ok(idempotency) => {
                let origin = Origin { idempotency, ..envelope.origin.clone() };
                Ok(Validated { valid, origin, is_named })
            }
            Err(error) => Err(self.stop(error, Some(valid), Caller::default(), envelope).await),
        }
    }

    async fn identify(
        &self,
        validated: Validated,
        request: &Request,
        envelope: &Envelope,
    ) -> Result<Authenticated, Box<Stopped>> {
        let Validated { valid, origin, is_named } = validated;
        let is_mutation = valid.operation == OperationType::Mutation;
        if is_mutation {
            envelope.meter.stays().await;
        }
        let caller = match self.caller(envelope, &origin, valid.needs_caller, !is_mutation).await {
            Ok(caller) => caller,
            Err(error) => return Err(self.stop(error, Some(valid), Caller::default(), envelope).await),
        };
        if !is_named && let Err(error) = self.refuse_other_documents(&caller, &request.query, envelope).await {
            return Err(self.stop(error, Some(valid), caller, envelope).await);
        }
        if let (Some(idempotency), Some(identified)) = (&origin.idempotency, &caller.identified) {
            let organization_id = caller.scope.as_ref().map(|scope| scope.organization_id());
            idempotency.belongs_to(organization_id, identified.actor());
        }
        Ok(Authenticated { valid, caller, origin })
    }

    /// Takes what the operation costs at most, before it runs. RATE_LIMITED when that is not there now,
    /// QUERY_TOO_COMPLEX when it never will be.
    async fn charge(&self, authenticated: Authenticated, envelope: &Envelope) -> Result<Admitted, Box<Stopped>> {
        let Authenticated { valid, caller, origin } = authenticated;
        envelope.meter.belongs_to(caller.consumer(&envelope.origin)).await;
        let allowance = self.state.rate_limit.of_caller(&caller, &envelope.origin);
        let cost = valid.cost.max(MINIMUM_COST);
        let mut charge = Charge { requested: cost, ..Charge::default() };
        if allowance.capacity == 0 {
            return Ok(Admitted { valid, caller, origin, taken: None, charge });
        }
        let is_too_dear = cost > allowance.capacity.into();
        let asked = if is_too_dear { MINIMUM_COST } else { cost };
        let dearest = || self.validation.dearest_of(&valid);
        let refusal = match self.state.rate_limit.take(allowance, asked).await {
            Ok(taken) => {
                charge.level = Some(taken.level);
                if !is_too_dear {
                    return Ok(Admitted { valid, caller, origin, taken: Some(taken), charge });
                }
                valid.prices.too_dear(allowance.capacity.into(), dearest())
            }
            Err(refused) => {
                charge.level = Some(refused.level);
                rate_limited(&refused, dearest())
            }
        };
        Err(Box::new(Stopped { error: refusal.into(), valid: Some(valid), caller, charge }))
    }

    /// An operation that stops before its points are taken: on its caller's account, or on its address's where that is
    /// nobody yet.
    async fn stop(
        &self,
        error: Error,
        valid: Option<Arc<ValidRequest>>,
        caller: Caller,
        envelope: &Envelope,
    ) -> Box<Stopped> {
        let (limiter, mut charge) = (&self.state.rate_limit, Charge::default());
        let allowance = limiter.of_caller(&caller, &envelope.origin);
        if matches!(&error, Error::Refused(refusal) if refusal.code == Code::RateLimited) {
            // By what is left: the headers say so.
            charge.level = Some(limiter.level(allowance));
        }
        let error = self.pay_for(error, allowance, &mut charge).await;
        Box::new(Stopped { error, valid, caller, charge })
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

    /// Puts the document in the request that it names by an id of the caller's organization. One that the organization, or
    /// the set that the caller's key is bound to, does not have is for validation to refuse.
    async fn find_document(&self, request: &mut Request, envelope: &Envelope) -> Result<Named, Box<Stopped>> {
        let Some(id) = self.validation.other_id(request) else { return Ok(Named::Otherwise) };
        // Without a good credential it is validation that says what is wrong.
        if envelope.credential.is_none() {
            return Ok(Named::Otherwise);
        }
        let caller = match Box::pin(self.caller(envelope, &envelope.origin, true, true)).await {
            Ok(caller) => caller,
            Err(error) => return Err(self.stop(error, None, Caller::default(), envelope).await),
        };
        let Some(scope) = &caller.scope else { return Ok(Named::Otherwise) };
        let named = async {
            self.may_ask(&caller, envelope)?;
            document_sets::query::named(scope, caller.document_set(), id).await
        };
        match Box::pin(named).await {
            Ok(Some(text)) => {
                request.query = text;
                request.extensions.remove(DOCUMENT_ID);
                request.extensions.remove("persistedQuery");
                Ok(Named::Found)
            }
            Ok(None) => Ok(Named::Unknown(caller)),
            Err(error) => Err(self.stop(error, None, caller, envelope).await),
        }
    }

    /// FORBIDDEN for a document that is not in the set which the caller's API key is bound to.
    async fn refuse_other_documents(&self, caller: &Caller, text: &str, envelope: &Envelope) -> Result<()> {
        let (Some(set), Some(scope)) = (caller.document_set(), &caller.scope) else { return Ok(()) };
        self.may_ask(caller, envelope)?;
        if Box::pin(document_sets::query::holds(scope, set, text)).await? {
            return Ok(());
        }
        let message =
            "This API key runs the documents of its set alone: register this one, or send another's `documentId`.";
        Err(Refusal::new(Code::Forbidden, message).into())
    }

    /// RATE_LIMITED for a caller without a point: what they ask for is looked up first, and paid for where it isn't there.
    fn may_ask(&self, caller: &Caller, envelope: &Envelope) -> Result<()> {
        let limiter = &self.state.rate_limit;
        let has_points = limiter.has_points(limiter.of_caller(caller, &envelope.origin));
        has_points.map_err(|refused| rate_limited(&refused, Dearest::default()).into())
    }

    /// Validation's check; of a document that is not known, on its address's account.
    async fn check(&self, request: &mut Request, meter: &Meter) -> Result<ValidRequest> {
        if self.validation.knows(request) {
            return self.validation.check(request);
        }
        meter.before_document().await;
        meter.document(|| self.validation.check(request))
    }

    /// What is refused before a caller is known costs its address a point; without one left it is RATE_LIMITED instead.
    /// So neither broken documents nor guessed credentials come for nothing.
    pub async fn reject(&self, error: Error, origin: &Origin, charge: &mut Charge) -> Error {
        self.pay_for(error, self.state.rate_limit.of_address(origin), charge).await
    }

    async fn pay_for(&self, error: Error, allowance: Allowance, charge: &mut Charge) -> Error {
        // A fault of ours is not charged.
        let Error::Refused(refusal) = error else { return error };
        if allowance.capacity == 0 || refusal.code == Code::RateLimited {
            return refusal.into();
        }
        (charge.requested, charge.actual) = (MINIMUM_COST, MINIMUM_COST);
        match self.state.rate_limit.take(allowance, MINIMUM_COST).await {
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
        let authenticated = self.authenticator.authenticate(credential, choice.as_ref(), origin, &look_ups);
        // A database that hangs with its connections open ends no statement.
        let authenticated = tokio::time::timeout(self.state.config.limits.timeout, authenticated).await;
        let silent = || Refusal::new(Code::Unavailable, "Who is calling could not be looked up in time; try again.");
        let caller = match authenticated.unwrap_or_else(|_| Err(silent().into())) {
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

/// What repeats of a mutation are told apart by, where it has a key. BAD_REQUEST for an operation that may not come this way:
/// a subscription without a stream, a mutation by GET.
fn claim_of(valid: &ValidRequest, request: &Request, envelope: &Envelope) -> Result<Option<Arc<Idempotency>>> {
    if valid.operation == OperationType::Subscription && !envelope.can_stream {
        let message = "Subscriptions run over a WebSocket (graphql-transport-ws) or with `Accept: text/event-stream`.";
        return Err(Refusal::bad_request(message).into());
    }
    if valid.operation != OperationType::Mutation {
        return Ok(None);
    }
    if envelope.is_read_only {
        return Err(Refusal::bad_request("Mutations may not be sent with GET; use POST.").into());
    }
    Ok(idempotency(request, envelope.idempotency_key.as_deref())?.map(Arc::new))
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
