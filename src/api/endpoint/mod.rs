//! One operation, from any transport: gate, credentials, rate limit, execution, finished errors.

mod body;
pub mod http;
mod media;
mod outbox;
pub mod sse;
pub mod stream;
pub mod ws;

use std::{ops::Deref, sync::Arc, time::Instant};

use async_graphql::{Request, Response, Value, parser::types::OperationType};
use futures_util::StreamExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};

use self::stream::{Answers, Template};
use super::{
    cost::Dearest,
    processor::{Meter, Processor},
    response_sharing,
    schema::{self, ApiSchema},
    validation::{Gate, Passed, registered::DOCUMENT_ID},
};
use crate::{
    base::{
        error::{Code, Error, Refusal, Result},
        id::{AnyId, OrganizationId},
    },
    data::{
        actor::Origin,
        db::{OrgScope, idempotency::Idempotency, identity::OrganizationChoice},
    },
    domains::{
        document_sets,
        events::{
            feed::Feed,
            subscription::{Opening, Turn},
        },
    },
    graphql::{
        context::{Charge, RequestContext},
        error::{finish, server_errors},
        response::has_data,
    },
    platform::{
        auth::session::{Authenticator, Caller, Credential, LookUps},
        metering::Measured,
        rate_limit::{Allowance, Refused, Taken},
        state::State,
    },
};

/// The API, ready to execute. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

pub struct Inner {
    pub state: State,
    pub schema: ApiSchema,
    authenticator: Authenticator,
    pub gate: Gate,
    pub processor: Processor,
}

impl Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Points of an operation that asks for nothing dear, and of whatever is refused.
const MINIMUM_COST: u64 = 1;

/// An operation that may run.
struct Prepared {
    passed: Arc<Passed>,
    caller: Caller,
    origin: Origin,
    taken: Option<Taken>,
}

/// What a transport knows of a request besides its body.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub credential: Option<Credential>,
    /// The organization of the path, then the one of the header.
    pub organization: (Option<String>, Option<String>),
    pub origin: Origin,
    /// The client's key for its mutation; `extensions.idempotencyKey` does, too.
    pub idempotency_key: Option<String>,
    /// GET: nothing that changes anything.
    pub is_read_only: bool,
    /// Whether the transport can carry the answers of a subscription.
    pub can_stream: bool,
    /// Where a broken stream goes on.
    pub resume: Option<String>,
    /// Whether the answer's `extensions` say what it cost.
    pub include_cost: bool,
    /// What the operation uses of a processor.
    pub meter: Meter,
}

/// One client's way to the API, as far as it is known before an operation comes.
pub struct Client {
    pub api: Api,
    pub envelope: Envelope,
}

/// What an operation came to.
pub enum Started {
    Answer(Answer),
    /// A subscription. The answer is that of the beginning: who it was, and what it cost.
    Stream(Answer, Box<Answers>),
}

/// The answer, with what the transport's log line says about it.
#[derive(Debug, Default)]
pub struct Answer {
    pub response: Response,
    pub passed: Option<Arc<Passed>>,
    pub organization: Option<OrganizationId>,
    pub actor: Option<AnyId>,
    /// What it cost, and what its bucket holds now.
    pub charge: Charge,
    /// In whose usage it is counted; none before the caller is known, and without an organization.
    pub scope: Option<OrgScope>,
    /// A mutation came by GET.
    pub wrong_method: bool,
}

impl Answer {
    /// Whether it belongs to a subscription, which did not begin.
    pub fn is_subscription(&self) -> bool {
        self.passed.as_ref().is_some_and(|passed| passed.operation == OperationType::Subscription)
    }
}

impl Api {
    /// INTERNAL where the schema, or a registered document, is not valid.
    pub fn new(state: State) -> Result<Self> {
        let limits = &state.config.limits;
        let (has_introspection, has_federation) = (state.config.server.introspection, state.config.server.federation);
        let schema = schema::build(limits, has_federation)?;
        let gate =
            Gate::new(schema::registry(has_federation), &schema::sdl(&schema), limits.clone(), has_introspection)?;
        let gate = gate.register(&state.config.server.documents, state.config.server.documents_only)?;
        let processor = Processor::new(state.metrics.clone())?;
        Ok(Self(Arc::new(Inner { schema, authenticator: state.authenticator(), gate, processor, state })))
    }

    /// Executes one operation that is no subscription. Whatever goes wrong is in the answer.
    pub async fn execute(&self, mut request: Request, envelope: &Envelope) -> Answer {
        let (begun, mut answer) = (Instant::now(), Answer::default());
        let response = match self.prepare(&mut request, envelope, &mut answer).await {
            Ok(prepared) => Ok(self.run(request, prepared, &mut answer).await),
            Err(error) => Err(error),
        };
        self.conclude(&mut answer, response, envelope, begun);
        answer
    }

    /// Finishes the answer, and counts it.
    fn conclude(&self, answer: &mut Answer, response: Result<Response>, envelope: &Envelope, begun: Instant) {
        answer.response = response.unwrap_or_else(|error| Response::from_errors(server_errors(error)));
        if let Some(passed) = &answer.passed {
            self.gate.locate(passed, &mut answer.response.errors);
        }
        finish(&mut answer.response, &envelope.origin.request_id);
        if envelope.include_cost {
            let Charge { requested, actual, level } = answer.charge;
            let remaining = level.map(|level| level.remaining());
            let breakdown = answer.passed.as_ref().map(|passed| self.gate.breakdown(passed)).unwrap_or_default();
            let cost = json!({
                "requested": requested, "actual": actual, "remaining": remaining, "breakdown": breakdown,
            });
            answer.response.extensions.insert("cost".to_owned(), Value::from_json(cost).unwrap_or_default());
        }
        self.count(answer, begun);
    }

    /// Counts the request in its organization's usage, however it ended.
    fn count(&self, answer: &Answer, begun: Instant) {
        let failed = !answer.response.errors.is_empty();
        if let Some(passed) = answer.passed.as_ref().filter(|passed| passed.is_registered) {
            // What stands for an operation without a name is made of what the caller selects: too many for a label.
            let operation = passed.name.as_deref().unwrap_or("unnamed");
            self.state.metrics.operated(operation, failed, begun.elapsed());
        }
        if let (Some(scope), Some(passed)) = (&answer.scope, &answer.passed) {
            let (operation, cost, elapsed) = (passed.label(), answer.charge.actual, begun.elapsed());
            self.state.usage.record(scope, Measured { operation, cost, elapsed, failed });
        }
    }

    /// Gate, credentials and rate limit: whatever must pass before anything runs.
    async fn prepare(&self, request: &mut Request, envelope: &Envelope, answer: &mut Answer) -> Result<Prepared> {
        let mut origin = envelope.origin.clone();
        let (passed, caller) = match self.admit(request, envelope, &mut origin, answer).await {
            Ok(admitted) => admitted,
            Err(error) => return Err(self.reject(error, &envelope.origin, &mut answer.charge).await),
        };
        answer.scope.clone_from(&caller.scope);
        answer.organization = caller.scope.as_ref().map(|scope| scope.organization_id());
        answer.actor = caller.identified.as_ref().map(|identified| identified.actor().any_id());
        envelope.meter.belongs_to(caller.consumer(&envelope.origin)).await;
        let allowance = self.state.rate_limit.of_caller(&caller, &envelope.origin);
        let taken = self.charge(allowance, &passed, &mut answer.charge).await?;
        if let (Some(idempotency), Some(identified)) = (&origin.idempotency, &caller.identified) {
            let organization_id = caller.scope.as_ref().map(|scope| scope.organization_id());
            idempotency.belongs_to(organization_id, identified.actor());
        }
        Ok(Prepared { passed, caller, origin, taken })
    }

    /// Runs what has been prepared.
    async fn run(&self, request: Request, prepared: Prepared, answer: &mut Answer) -> Response {
        let Prepared { passed, caller, origin, taken } = prepared;
        let mut context = RequestContext::new(&self.state, caller, origin);
        context.charge = answer.charge;
        let (budget, loads) = (context.budget.clone(), context.loads.clone());
        let execution = loads.drive(self.schema.execute(request.data(context).data(self.gate.document_check())));
        let executed = tokio::time::timeout(self.state.config.limits.timeout, execution).await;
        // What was stopped, or nobody waited for, cost all that it asked for.
        answer.charge.actual = answer.charge.requested;
        let Ok(mut response) = executed else { return timed_out() };
        self.remember(&passed, &response);
        answer.charge.actual = passed.prices.actual(&response).max(MINIMUM_COST);
        if let Some(taken) = taken {
            answer.charge.level = Some(self.state.rate_limit.settle(&taken, answer.charge.actual));
        }
        budget.enforce(&mut response);
        response
    }

    /// Keeps the document of what was validated and ran.
    fn remember(&self, passed: &Passed, response: &Response) {
        if has_data(response) {
            self.gate.remember(passed);
        }
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

    /// What must hold before anything is charged to a caller: a document that the gate passes, and a good credential or
    /// none.
    async fn admit(
        &self,
        request: &mut Request,
        envelope: &Envelope,
        origin: &mut Origin,
        answer: &mut Answer,
    ) -> Result<(Arc<Passed>, Caller)> {
        let named = self.find_document(request, envelope, origin).await?;
        let passed = Arc::new(self.check(request, &envelope.meter).await?);
        let is_mutation = passed.operation == OperationType::Mutation;
        answer.passed = Some(passed.clone());
        if passed.operation == OperationType::Subscription && !envelope.can_stream {
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
        match self.caller(envelope, origin, passed.needs_caller, !is_mutation).await {
            Ok(caller) => {
                if !named {
                    refuse_other_documents(&caller, &request.query).await?;
                }
                Ok((passed, caller))
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
        let Some(id) = self.gate.other_id(request) else { return Ok(false) };
        // Without a good credential it is the gate that says what is wrong.
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

    /// The gate's check; of a document that is not known, on its address's account.
    async fn check(&self, request: &mut Request, meter: &Meter) -> Result<Passed> {
        if self.gate.knows(request) {
            return self.gate.check(request);
        }
        meter.before_document().await;
        meter.document(|| self.gate.check(request))
    }

    /// Takes what the operation costs at most, before it runs. RATE_LIMITED when that is not there now,
    /// QUERY_TOO_COMPLEX when it never will be.
    async fn charge(&self, allowance: Allowance, passed: &Passed, charge: &mut Charge) -> Result<Option<Taken>> {
        let cost = passed.cost.max(MINIMUM_COST);
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
                    Err(passed.prices.too_dear(allowance.capacity.into(), self.gate.dearest_of(passed)).into())
                } else {
                    Ok(Some(taken))
                }
            }
            Err(refused) => {
                charge.level = Some(refused.level);
                Err(rate_limited(&refused, self.gate.dearest_of(passed)).into())
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

impl Client {
    /// Executes one operation, or begins a subscription. Whatever goes wrong is in the answer.
    pub async fn start(self: &Arc<Self>, mut request: Request) -> Started {
        let (api, begun, mut answer) = (&self.api, Instant::now(), Answer::default());
        let mut answers = None;
        let response = match api.prepare(&mut request, &self.envelope, &mut answer).await {
            Ok(prepared) if prepared.passed.operation == OperationType::Subscription => {
                // What it brings later is shared with others, and in the price of the beginning.
                answer.charge.actual = answer.charge.requested;
                self.subscribe(request, prepared).await.map(|opened| match opened {
                    Ok(begun) => {
                        answers = Some(Box::new(begun));
                        Response::default()
                    }
                    Err(response) => response,
                })
            }
            Ok(prepared) => Ok(api.run(request, prepared, &mut answer).await),
            Err(error) => Err(error),
        };
        api.conclude(&mut answer, response, &self.envelope, begun);
        match answers {
            Some(mut answers) => {
                answers.first_say(std::mem::take(&mut answer.response.extensions));
                Started::Stream(answer, answers)
            }
            None => Started::Answer(answer),
        }
    }

    /// Reads a subscription's arguments by running its root field; a response with errors when that fails.
    async fn subscribe(self: &Arc<Self>, request: Request, prepared: Prepared) -> Result<Result<Answers, Response>> {
        let (api, Prepared { passed, caller, origin, .. }) = (&self.api, prepared);
        let mut template = Template {
            passed: passed.clone(),
            operation_name: request.operation_name.clone(),
            variables: request.variables.clone(),
            fingerprint: None,
        };
        let fingerprint = fingerprint(&request)?;
        let opening = Opening::resuming(self.envelope.resume.clone());
        let context = RequestContext::new(&api.state, caller.clone(), origin);
        let loads = context.loads.clone();
        let mut stream = api.schema.execute_stream(request.data(context).data(Turn::Open(opening.clone())));
        match tokio::time::timeout(api.state.config.limits.timeout, loads.drive(stream.next())).await {
            Ok(Some(response)) => return Ok(Err(response)),
            Ok(None) => {}
            Err(_) => return Ok(Err(timed_out())),
        }
        api.gate.remember(&passed);
        let opened = opening.opened().ok_or_else(|| Error::internal("a subscription that did not open"))?;
        let scope = caller.scope.clone().ok_or_else(|| Error::internal("a subscription without an organization"))?;
        let is_personal = opened.filter.as_ref().is_some_and(|filter| filter.exclude_viewer == Some(true));
        let runs = api.gate.runs(&passed, &template.variables)?;
        if !is_personal && response_sharing::is_the_same_for_all(api.gate.registry(), &runs) {
            template.fingerprint = Some(fingerprint);
        }
        let live = api.state.live.follow(scope.organization_id(), opened.head);
        let feed = Feed::new(opened, live, api.state.config.subscriptions.heartbeat);
        Ok(Ok(Answers::new(self.clone(), caller, scope, feed, template)))
    }
}

fn timed_out() -> Response {
    let refusal = Refusal::new(Code::Timeout, "The operation took too long and was stopped; ask for less.");
    Response::from_errors(server_errors(refusal.into()))
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

/// SHA-256 of the document, the operation's name and the variables; the order of their fields makes no difference.
fn fingerprint(request: &Request) -> Result<Vec<u8>> {
    // A `serde_json` object keeps its keys sorted.
    let variables = serde_json::to_value(&request.variables).map_err(Error::internal)?;
    let parts = [request.query.as_str(), request.operation_name.as_deref().unwrap_or_default(), &variables.to_string()];
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(digest.finalize().to_vec())
}
