//! One operation, from any transport: validation, credentials, rate limit, execution, finished errors.

mod admission;
mod body;
pub mod http;
mod span;
pub mod sse;
pub mod stream;
pub mod ws;

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use async_graphql::{Request, Response, Value, parser::types::OperationType};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{Instrument as _, Span};

use self::{
    admission::{Admitted, Stopped},
    stream::{Answers, Template},
};
use super::{
    answer_cache::{AnswerCache, ETag, Found},
    processor::{Meter, Processor},
    response_sharing,
    schema::{self, ApiSchema},
    validation::{RequestValidator, ValidRequest},
};
use crate::{
    base::{
        error::{Code, Error, Refusal, Result},
        id::{AnyId, OrganizationId},
    },
    data::{
        actor::Origin,
        db::{OrgScope, ReadFrom},
    },
    domains::{
        document_sets::manifest::DocumentCheck,
        events::{
            feed::Feed,
            subscription::{Opening, Run},
        },
    },
    graphql::{
        budget::AnswerBudget,
        context::{Charge, RequestContext},
        error::{code_of, finish, server_errors},
        response::{has_data, text_of},
    },
    platform::{
        auth::session::{Authenticator, Caller, Credential},
        metering::Measured,
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
    pub validation: RequestValidator,
    document_check: DocumentCheck,
    pub processor: Processor,
    answers: AnswerCache,
}

impl Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Points of an operation that asks for nothing dear, and of whatever is refused.
const MINIMUM_COST: u64 = 1;

/// How long a query may take that reads from a replica, before the database is asked instead.
const REPLICA_PATIENCE: Duration = Duration::from_secs(3);

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
    /// Whether the answer may be one that was kept; `None`: it is made anew.
    pub reuse: Option<Reuse>,
    /// What the operation uses of a processor.
    pub meter: Meter,
}

/// How a transport that sends an answer as one text may give one again.
#[derive(Clone, Debug, Default)]
pub struct Reuse {
    /// Whether the client is told the answer's entity tag: by GET.
    pub has_etag: bool,
    /// `If-None-Match`: the tags of what the client has.
    pub if_none_match: Option<String>,
}

impl Reuse {
    /// Whether the client has the answer with this tag.
    fn has(&self, etag: &ETag) -> bool {
        self.has_etag && self.if_none_match.as_deref().is_some_and(|tags| etag.is_in(tags))
    }
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
#[derive(Debug)]
pub struct Answer {
    pub response: Response,
    /// What was asked; `None` where no valid document came.
    pub valid: Option<Arc<ValidRequest>>,
    /// Who asked; nobody before that is known.
    caller: Caller,
    /// What it cost, and what its bucket holds now.
    pub charge: Charge,
    /// A mutation came by GET.
    pub wrong_method: bool,
    /// The answer as it is sent, where it is known already; `response` may be empty then.
    pub text: Option<Bytes>,
    /// Of `text`, for a client that asks by GET.
    pub etag: Option<ETag>,
    /// The client has this answer.
    pub is_unchanged: bool,
}

impl Answer {
    fn new(response: Response, valid: Option<Arc<ValidRequest>>, caller: Caller, charge: Charge) -> Self {
        Self { response, valid, caller, charge, wrong_method: false, text: None, etag: None, is_unchanged: false }
    }

    /// Gives the answer its text, and its tag to a client that asks for tags.
    fn written(mut self, text: Bytes, etag: ETag, reuse: &Reuse) -> Self {
        self.is_unchanged = reuse.has(&etag);
        self.etag = reuse.has_etag.then_some(etag);
        self.text = Some(text);
        self
    }

    fn is(&self, operation: OperationType) -> bool {
        self.valid.as_ref().is_some_and(|valid| valid.operation == operation)
    }

    /// Whether it belongs to a subscription, which did not begin.
    pub fn is_subscription(&self) -> bool {
        self.is(OperationType::Subscription)
    }

    pub fn organization(&self) -> Option<OrganizationId> {
        self.caller.scope.as_ref().map(OrgScope::organization_id)
    }

    pub fn actor(&self) -> Option<AnyId> {
        self.caller.identified.as_ref().map(|identified| identified.actor().any_id())
    }
}

impl From<Stopped> for Answer {
    fn from(stopped: Stopped) -> Self {
        let Stopped { error, valid, caller, charge } = stopped;
        Self::new(failed(error), valid, caller, charge)
    }
}

impl Api {
    /// INTERNAL where the schema, or a registered document, is not valid.
    pub fn new(state: State) -> Result<Self> {
        let limits = &state.config.limits;
        let (has_introspection, has_federation) = (state.config.server.introspection, state.config.server.federation);
        let schema = schema::build(limits, has_federation)?;
        let validation = RequestValidator::new(
            schema::registry(has_federation),
            &schema::sdl(&schema),
            limits.clone(),
            has_introspection,
        )?;
        let validation = validation.register(&state.config.server.documents, state.config.server.documents_only)?;
        let processor = Processor::new(state.metrics.clone())?;
        let (authenticator, document_check) = (state.authenticator(), validation.document_check());
        let answers = AnswerCache::new(state.config.server.answer_cache_bytes, state.metrics.clone());
        Ok(Self(Arc::new(Inner { schema, authenticator, validation, document_check, processor, answers, state })))
    }

    /// Executes one operation that is no subscription. Whatever goes wrong is in the answer.
    pub async fn execute(&self, mut request: Request, envelope: &Envelope) -> Answer {
        let (begun, span) = (Instant::now(), span::operation(&envelope.origin));
        // What is large is boxed, here and below: futures are moved into each other, whole.
        let answer = async {
            match self.admit(&mut request, envelope).await {
                Ok(admitted) => {
                    span::know(&span, &admitted.valid, &admitted.caller);
                    match &envelope.reuse {
                        Some(reuse) if !envelope.include_cost => Box::pin(self.reuse(request, admitted, reuse)).await,
                        _ => Box::pin(self.run(request, admitted)).await,
                    }
                }
                Err(stopped) => Answer::from(*stopped),
            }
        };
        let answer = answer.instrument(span.clone()).await;
        let answer = self.conclude(answer, envelope, begun);
        span::ended(&span, &answer.response);
        answer
    }

    /// Bytes and entries of the answers that are kept to be given again.
    pub fn answer_cache_size(&self) -> (u64, u64) {
        self.answers.size()
    }

    /// Finishes the answer, and counts it.
    fn conclude(&self, mut answer: Answer, envelope: &Envelope, begun: Instant) -> Answer {
        if let Some(valid) = &answer.valid {
            self.validation.locate(valid, &mut answer.response.errors);
        }
        finish(&mut answer.response, &envelope.origin.request_id);
        if envelope.include_cost {
            let Charge { requested, actual, level } = answer.charge;
            let remaining = level.map(|level| level.remaining());
            let breakdown = answer.valid.as_ref().map(|valid| self.validation.breakdown(valid)).unwrap_or_default();
            let cost = json!({
                "requested": requested, "actual": actual, "remaining": remaining, "breakdown": breakdown,
            });
            answer.response.extensions.insert("cost".to_owned(), Value::from_json(cost).unwrap_or_default());
        }
        answer.wrong_method = envelope.is_read_only && answer.is(OperationType::Mutation);
        self.count(&answer, begun);
        answer
    }

    /// Counts the request in its organization's usage, however it ended.
    fn count(&self, answer: &Answer, begun: Instant) {
        let failed = !answer.response.errors.is_empty();
        if let Some(valid) = answer.valid.as_ref().filter(|valid| valid.is_registered) {
            // What stands for an operation without a name is made of what the caller selects: too many for a label.
            let operation = valid.name.as_deref().unwrap_or("unnamed");
            self.state.metrics.operated(operation, failed, begun.elapsed());
        }
        if let (Some(scope), Some(valid)) = (&answer.caller.scope, &answer.valid) {
            let (operation, cost, elapsed) = (valid.label(), answer.charge.actual, begun.elapsed());
            self.state.usage.record(scope, Measured { operation, cost, elapsed, failed });
        }
    }

    /// Gives the answer that was kept of the same request, where nothing it is made of has changed; else runs the request.
    /// What is given again costs what it cost, and a point where the client has it.
    async fn reuse(&self, request: Request, admitted: Admitted, reuse: &Reuse) -> Answer {
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

    /// Runs what was admitted.
    async fn run(&self, request: Request, admitted: Admitted) -> Answer {
        let execution = Box::pin(self.perform(request, &admitted));
        let finished = tokio::time::timeout(self.state.config.limits.timeout, execution).await;
        let Admitted { valid, caller, taken, mut charge, .. } = admitted;
        let response = match finished {
            Ok((mut response, budget)) => {
                self.remember(&valid, &response);
                charge.actual = valid.prices.actual(&response).max(MINIMUM_COST);
                if let Some(taken) = taken {
                    charge.level = Some(self.state.rate_limit.settle(&taken, charge.actual));
                }
                budget.enforce(&mut response);
                response
            }
            Err(_) => {
                // What was stopped cost all that it asked for.
                charge.actual = charge.requested;
                timed_out()
            }
        };
        Answer::new(response, Some(valid), caller, charge)
    }

    /// Executes a query by a replica where that has everything, all else by the database itself; so, too, what fails or
    /// hangs at the replica, which may go at any time, or end a query that is in the way of what it follows.
    async fn perform(&self, mut request: Request, admitted: &Admitted) -> (Response, AnswerBudget) {
        let Some(scope) = self.replica_for(admitted).await else {
            return self.perform_as(request, admitted, admitted.caller.clone()).await;
        };
        let caller = Caller { scope: Some(scope.clone()), ..admitted.caller.clone() };
        let execution = self.perform_as(same_again(&mut request), admitted, caller);
        let done = tokio::time::timeout(REPLICA_PATIENCE.min(self.state.config.limits.timeout / 2), execution).await;
        let is_of_replica = |code| matches!(code, Some("UNAVAILABLE" | "INTERNAL"));
        let cause = match done {
            Err(_) => "a query got no answer in time".to_owned(),
            Ok(done) => match done.0.errors.iter().find(|error| is_of_replica(code_of(error))) {
                Some(error) => error.message.clone(),
                None => {
                    self.state.metrics.replica_query("replica");
                    return done;
                }
            },
        };
        scope.suspect_replica(&cause).await;
        self.state.metrics.replica_query("failed");
        self.perform_as(request, admitted, admitted.caller.clone()).await
    }

    async fn perform_as(&self, request: Request, admitted: &Admitted, caller: Caller) -> (Response, AnswerBudget) {
        let mut context = RequestContext::new(&self.state, caller, admitted.origin.clone());
        context.charge = admitted.charge;
        let (budget, loads) = (context.budget.clone(), context.loads.clone());
        let execution = self.schema.execute(request.data(context).data(self.document_check.clone()));
        (loads.drive(execution).await, budget)
    }

    /// A scope that reads from the replica, where that may answer.
    async fn replica_for(&self, admitted: &Admitted) -> Option<OrgScope> {
        let scope = admitted.caller.scope.as_ref().filter(|_| admitted.valid.is_of_ledger)?;
        let outcome = match scope.read_from().await {
            Ok(ReadFrom::Replica(scope)) => return Some(scope),
            // What is wrong with the database itself, the query will say.
            Ok(ReadFrom::Database) | Err(_) => return None,
            Ok(ReadFrom::ReplicaBehind) => "behind",
            Ok(ReadFrom::ReplicaAway) => "away",
        };
        self.state.metrics.replica_query(outcome);
        None
    }

    /// Keeps the document of what was validated and ran.
    fn remember(&self, valid: &ValidRequest, response: &Response) {
        if has_data(response) {
            self.validation.remember(valid);
        }
    }
}

impl Client {
    /// Executes one operation, or begins a subscription. Whatever goes wrong is in the answer.
    pub async fn start(self: &Arc<Self>, request: Request) -> Started {
        let (api, begun, span) = (&self.api, Instant::now(), span::operation(&self.envelope.origin));
        let (answer, opened) = self.begin(request, &span).instrument(span.clone()).await;
        let mut answer = api.conclude(answer, &self.envelope, begun);
        span::ended(&span, &answer.response);
        match opened {
            Some(mut answers) => {
                answers.first_say(std::mem::take(&mut answer.response.extensions));
                Started::Stream(answer, answers)
            }
            None => Started::Answer(answer),
        }
    }

    async fn begin(self: &Arc<Self>, mut request: Request, span: &Span) -> (Answer, Option<Box<Answers>>) {
        let admitted = match self.api.admit(&mut request, &self.envelope).await {
            Ok(admitted) => admitted,
            Err(stopped) => return (Answer::from(*stopped), None),
        };
        span::know(span, &admitted.valid, &admitted.caller);
        if admitted.valid.operation != OperationType::Subscription {
            return (self.api.run(request, admitted).await, None);
        }
        let (valid, caller, mut charge) = (admitted.valid.clone(), admitted.caller.clone(), admitted.charge);
        // What it brings later is shared with others, and in the price of the beginning.
        charge.actual = charge.requested;
        let (response, opened) = match self.subscribe(request, admitted).await {
            Ok(Ok(answers)) => (Response::default(), Some(Box::new(answers))),
            Ok(Err(response)) => (response, None),
            Err(error) => (failed(error), None),
        };
        (Answer::new(response, Some(valid), caller, charge), opened)
    }

    /// Reads a subscription's arguments by running its root field; a response with errors when that fails.
    async fn subscribe(self: &Arc<Self>, request: Request, admitted: Admitted) -> Result<Result<Answers, Response>> {
        let (api, Admitted { valid, caller, origin, .. }) = (&self.api, admitted);
        let mut template = Template {
            valid: valid.clone(),
            operation_name: request.operation_name.clone(),
            variables: request.variables.clone(),
            fingerprint: None,
        };
        let fingerprint = fingerprint(&request)?;
        let opening = Opening::resuming(self.envelope.resume.clone());
        let context = RequestContext::new(&api.state, caller.clone(), origin);
        let loads = context.loads.clone();
        let mut stream = api.schema.execute_stream(request.data(context).data(Run::Open(opening.clone())));
        match tokio::time::timeout(api.state.config.limits.timeout, loads.drive(stream.next())).await {
            Ok(Some(response)) => return Ok(Err(response)),
            Ok(None) => {}
            Err(_) => return Ok(Err(timed_out())),
        }
        api.validation.remember(&valid);
        let opened = opening.opened().ok_or_else(|| Error::internal("a subscription that did not open"))?;
        let scope = caller.scope.clone().ok_or_else(|| Error::internal("a subscription without an organization"))?;
        let is_personal = opened.filter.as_ref().is_some_and(|filter| filter.exclude_viewer == Some(true));
        let runs = api.validation.runs(&valid, &template.variables)?;
        if !is_personal && response_sharing::is_the_same_for_all(api.validation.registry(), &runs) {
            template.fingerprint = Some(fingerprint);
        }
        let live = api.state.live.follow(scope.organization_id(), opened.head);
        let feed = Feed::new(opened, live, api.state.config.subscriptions.heartbeat);
        Ok(Ok(Answers::new(self.clone(), caller, scope, feed, template)))
    }
}

/// The same request, to be executed before it: its document, which is parsed already, and its variables.
fn same_again(request: &mut Request) -> Request {
    let mut again = Request::new(&request.query).variables(request.variables.clone());
    again.operation_name.clone_from(&request.operation_name);
    if let Ok(document) = request.parsed_query() {
        let document = document.clone();
        again.set_parsed_query(document);
    }
    again
}

fn failed(error: Error) -> Response {
    Response::from_errors(server_errors(error))
}

fn timed_out() -> Response {
    failed(Refusal::new(Code::Timeout, "The operation took too long and was stopped; ask for less.").into())
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
