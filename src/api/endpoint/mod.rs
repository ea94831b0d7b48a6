//! One operation, from any transport: validation, credentials, rate limit, execution, finished errors.

mod admission;
mod body;
mod execution;
pub mod http;
mod reuse;
mod span;
pub mod sse;
pub mod stream;
pub mod ws;

use std::{ops::Deref, sync::Arc, time::Instant};

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
    answer_cache::{AnswerCache, ETag},
    processor::{Meter, Processor},
    response_sharing,
    schema::{self, ApiSchema},
    validation::{RequestValidator, ValidRequest},
};
use crate::{
    base::{
        cache_use::CacheUse,
        error::{Code, Error, Refusal, Result},
        id::{AnyId, OrganizationId},
    },
    data::{actor::Origin, db::OrgScope},
    domains::{
        document_sets::manifest::DocumentCheck,
        events::{
            feed::Feed,
            subscription::{Opening, Run},
        },
    },
    graphql::{
        context::{Charge, RequestContext},
        error::{finish, server_errors},
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

    /// How the caches are used that requests look into.
    pub fn cache_uses(&self) -> Vec<CacheUse> {
        let callers = [self.state.db.identity_cache_use(), self.state.keys.cache_use()];
        let rows = self.state.db.reference_cache_uses();
        self.answers.cache_use().into_iter().chain(self.validation.cache_uses()).chain(callers).chain(rows).collect()
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
