//! A subscription as a stream of answers, for any transport: waits for batches, asks after the subscriber's rights, runs the
//! document once for each batch, and shares the text with all who would get the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_graphql::{Request, Response, ServerError, Value, Variables, parser::types::ExecutableDocument};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::{Client, span};
use crate::{
    api::validation::{RequestValidator, ValidRequest},
    base::{
        error::{Code, Error, Refusal},
        id::{Kind as _, SessionId, kind},
    },
    data::{
        db::{OrgScope, identity::Identified},
        entity::event,
        ledger::LedgerCursor,
    },
    domains::events::{
        feed::{Feed, FeedBatch},
        subscription::Run,
        types::EventBatch,
    },
    graphql::{
        context::RequestContext,
        error::{code_of, finish, server_errors},
        response::{has_code, text_of},
    },
    platform::{
        auth::session::Caller,
        live::{Batch, Lease},
    },
};

/// Between tries while the database is away.
const PAUSE: Duration = Duration::from_millis(500);

/// What is run for each batch.
pub struct Template {
    pub valid: Arc<ValidRequest>,
    pub operation_name: Option<String>,
    pub variables: Variables,
    /// What all who send the same share; `None` where the answers are the subscriber's own.
    pub fingerprint: Option<Vec<u8>>,
}

/// One subscriber's answers.
pub struct Answers {
    client: Arc<Client>,
    caller: Caller,
    /// The organization, and the rights in it.
    scope: OrgScope,
    lease: Lease,
    feed: Feed,
    template: Template,
    /// Of the texts to share, for the present rights.
    key: Option<u128>,
    is_over: bool,
    /// A live batch of which a part has been sent.
    rest: Option<Arc<Batch>>,
    /// What the first answer says beside its data: the cost of it all.
    extensions: BTreeMap<String, Value>,
}

/// Why a stream ends.
struct Stop(Vec<ServerError>);

impl Stop {
    fn is_too_large(&self) -> bool {
        self.0.iter().any(|error| code_of(error) == Some(Code::AnswerTooLarge.as_str()))
    }
}

/// An answer to a batch.
struct Rendered {
    text: Bytes,
    has_errors: bool,
    /// Points that it cost.
    points: u64,
    /// Of the batch, events up to here alone: more would have been too large an answer.
    upto: Option<i64>,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self(server_errors(error))
    }
}

/// What a stream brings.
pub enum Step {
    /// An answer: the JSON text of a response. Resume after `cursor`.
    Next { text: Bytes, cursor: LedgerCursor },
    /// It is over: the JSON text of the errors. `is_withdrawn`: the caller may not call any more.
    Failed { errors: String, is_withdrawn: bool },
}

impl Answers {
    pub fn new(client: Arc<Client>, caller: Caller, scope: OrgScope, feed: Feed, template: Template) -> Self {
        let lease = client.api.state.live.lease(session_of(&caller), caller.expires_at);
        let key = key(&template, &scope);
        let extensions = BTreeMap::new();
        Self { client, caller, scope, lease, feed, template, key, is_over: false, rest: None, extensions }
    }

    /// Says this with the first answer.
    pub fn first_say(&mut self, extensions: BTreeMap<String, Value>) {
        self.extensions = extensions;
    }

    /// All of it, as a stream. Dropping it ends the subscription.
    pub fn into_stream(self) -> impl futures_util::Stream<Item = Step> + Send {
        futures_util::stream::unfold(self, |mut answers| {
            let meter = answers.client.envelope.meter.clone();
            meter.begin_anew();
            meter.run(async move {
                let step = answers.next().await?;
                Some((step, answers))
            })
        })
    }

    async fn next(&mut self) -> Option<Step> {
        if self.is_over {
            return None;
        }
        // Whatever is being waited for: nothing is shown once the right to it has ended.
        let lease = self.lease.token();
        let advanced = tokio::select! {
            biased;
            () = lease.cancelled() => Err(withdrawn().into()),
            advanced = self.advance() => advanced,
        };
        match advanced {
            Ok(text) => {
                let cursor = self.scope.cursor(self.feed.position());
                Some(Step::Next { text, cursor })
            }
            Err(stop) => {
                self.is_over = true;
                Some(self.failed(stop))
            }
        }
    }

    /// The next answer.
    async fn advance(&mut self) -> Result<Bytes, Stop> {
        loop {
            // The rest of one that was too large comes first.
            let next = match self.rest.take() {
                Some(batch) => Ok(FeedBatch::Live(batch)),
                None => self.feed.next(&self.scope).await,
            };
            let batch = match next {
                Ok(FeedBatch::History(batch)) => {
                    let extensions = std::mem::take(&mut self.extensions);
                    let rendered = Box::pin(self.render(batch, &extensions, false)).await?;
                    if let Some(sequence) = rendered.upto {
                        self.feed.return_to(sequence);
                    }
                    self.pay(rendered.points).await;
                    return Ok(rendered.text);
                }
                Ok(FeedBatch::Live(batch)) => batch,
                // The database is away: what is in it will be there.
                Err(error) if is_unavailable(&error) && !self.feed.is_live() => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // The ledger is followed no more. Perhaps the organization is gone, or was purged faster than read.
                Err(error) if is_unavailable(&error) => {
                    Box::pin(self.look_again()).await?;
                    self.scope.refuse_expired(self.feed.position(), self.scope.ledger_head().await?).await?;
                    return Err(error.into());
                }
                Err(error) => return Err(error.into()),
            };
            if batch.events.iter().any(|event| concerns(event, &self.caller)) {
                Box::pin(self.look_again()).await?;
            }
            let is_beat = batch.events.is_empty();
            if !is_beat && !batch.events.iter().any(|event| self.feed.is_for(&self.scope, event)) {
                self.feed.pass(&batch);
                continue;
            }
            let (text, upto) = Box::pin(self.render_live(&batch)).await?;
            match upto {
                Some(sequence) => {
                    self.feed.pass_to(sequence);
                    self.rest = Some(batch);
                }
                None => self.feed.pass(&batch),
            }
            self.feed.sent();
            return Ok(text);
        }
    }

    /// The text of a live batch: made once for all who get the same. With how far it goes, where it is a part.
    async fn render_live(&self, batch: &Batch) -> Result<(Bytes, Option<i64>), Stop> {
        let shared = self.key.filter(|_| self.feed.is_at_beginning_of(batch));
        let make = async {
            match self.render(self.feed.select(&self.scope, batch), &BTreeMap::new(), true).await {
                Ok(Rendered { text, has_errors: false, upto: None, .. }) => Ok(text),
                // Errors name the request, and a part is no whole.
                Ok(Rendered { text, upto, .. }) => Err(Ok((text, upto))),
                Err(stop) => Err(Err(stop)),
            }
        };
        let made = match shared {
            Some(key) => batch.shared(key, make).await,
            None => make.await,
        };
        made.map(|text| (text, None)).or_else(|unshared| unshared)
    }

    /// The answer to as much of a batch as an answer may hold. One event that is too large is passed over, and the answer
    /// says so: a stream that ended there would end there again after each resume.
    async fn render(
        &self,
        mut batch: EventBatch,
        extensions: &BTreeMap<String, Value>,
        is_live: bool,
    ) -> Result<Rendered, Stop> {
        let (mut upto, mut errors) = (None, Vec::new());
        loop {
            match self.execute(batch.clone(), extensions, &errors).await {
                Err(stop) if stop.is_too_large() && !batch.events.is_empty() => {
                    let half = batch.events.len() / 2;
                    if half == 0 {
                        errors = stop.0;
                    }
                    let last = if half == 0 { batch.events.first() } else { batch.events.get(half - 1) };
                    upto = last.map(|event| event.0.sequence);
                    batch.events.truncate(half);
                    batch.cursor = self.scope.cursor(upto.unwrap_or_default()).into();
                    batch.is_live = is_live;
                }
                Ok(rendered) => return Ok(Rendered { upto, ..rendered }),
                Err(stop) => return Err(stop),
            }
        }
    }

    /// History is read for this subscriber alone, and costs what the list `events` would: without points it is slow.
    async fn pay(&self, points: u64) {
        let (api, origin) = (&self.client.api, &self.client.envelope.origin);
        api.state.rate_limit.pay(api.state.rate_limit.of_caller(&self.caller, origin), points).await;
    }

    /// Runs the document for one batch; again and again while the database is away. `errors` are said with the answer. An
    /// answer without data ends the stream: going on would pass over events that the client has not got.
    async fn execute(
        &self,
        batch: EventBatch,
        extensions: &BTreeMap<String, Value>,
        errors: &[ServerError],
    ) -> Result<Rendered, Stop> {
        let (api, origin) = (&self.client.api, &self.client.envelope.origin);
        loop {
            let context = RequestContext::new(&api.state, self.caller.clone(), origin.clone());
            let (budget, loads) = (context.budget.clone(), context.loads.clone());
            let request = self.template.request(&api.validation)?.data(context).data(Run::batch(batch.clone()));
            let mut stream = api.schema.execute_stream(request);
            let span = span::operation(origin);
            span::know(&span, &self.template.valid, &self.caller);
            let execution = loads.drive(stream.next()).instrument(span);
            let executed = tokio::time::timeout(api.state.config.limits.timeout, execution).await;
            let mut response = match executed {
                Ok(Some(response)) => response,
                Ok(None) => failure(Error::internal("a batch without an answer")),
                Err(_) => failure(Refusal::new(Code::Timeout, "The answer took too long.").into()),
            };
            if has_code(&response, Code::Unavailable) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            budget.enforce(&mut response);
            if response.data == Value::Null {
                return Err(Stop(response.errors));
            }
            response.errors.extend_from_slice(errors);
            api.validation.locate(&self.template.valid, &mut response.errors);
            finish(&mut response, &origin.request_id);
            response.extensions.extend(extensions.clone());
            let points = self.template.valid.prices.of_answer(&response);
            let text = api.state.connections.weigh(text_of(&response));
            return Ok(Rendered { text, has_errors: !response.errors.is_empty(), points, upto: None });
        }
    }

    /// Who the subscriber is now; UNAUTHENTICATED once they may not call any more.
    async fn look_again(&mut self) -> Result<(), Error> {
        // What let the stream in is no guess: a neighbour's guesses don't hold it up.
        if let Some(credential) = &self.client.envelope.credential {
            self.client.api.state.rate_limit.was_good(credential);
        }
        let caller = loop {
            match self.client.api.authenticate(&self.client.envelope).await {
                Ok(caller) => break caller,
                Err(Error::Refused(refusal)) if refusal.code != Code::Unavailable => return Err(withdrawn()),
                // What can't be asked now is asked later; until then nothing is shown.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let same = |scope: &OrgScope| scope.organization_id() == self.scope.organization_id();
        if caller.document_set() != self.caller.document_set() {
            // Whether its document may run under another set is asked when it begins again.
            return Err(withdrawn());
        }
        self.scope = caller.scope.clone().filter(same).ok_or_else(withdrawn)?;
        self.lease.renew(caller.expires_at);
        self.caller = caller;
        self.key = key(&self.template, &self.scope);
        Ok(())
    }

    fn failed(&self, Stop(errors): Stop) -> Step {
        let has = |code: Code| errors.iter().any(|error| code_of(error) == Some(code.as_str()));
        let is_withdrawn = has(Code::Unauthenticated);
        self.client.api.state.metrics.ended(match () {
            () if is_withdrawn => "withdrawn",
            () if has(Code::SlowConsumer) => "slow",
            () if has(Code::CursorExpired) => "expired",
            () => "failed",
        });
        let mut response = Response::from_errors(errors);
        self.client.api.validation.locate(&self.template.valid, &mut response.errors);
        finish(&mut response, &self.client.envelope.origin.request_id);
        Step::Failed { errors: serde_json::to_string(&response.errors).unwrap_or_default(), is_withdrawn }
    }
}

impl Template {
    pub fn request(&self, validation: &RequestValidator) -> Result<Request, Error> {
        let mut request = Request::new("").variables(self.variables.clone());
        request.operation_name.clone_from(&self.operation_name);
        request.set_parsed_query(ExecutableDocument::clone(&*validation.runs(&self.valid, &self.variables)?));
        Ok(request)
    }
}

fn failure(error: Error) -> Response {
    Response::from_errors(server_errors(error))
}

fn withdrawn() -> Error {
    Refusal::new(Code::Unauthenticated, "Access has been withdrawn: the session or key has ended, or the membership.")
        .into()
}

fn session_of(caller: &Caller) -> Option<SessionId> {
    caller.identified.as_ref().and_then(Identified::person).map(|person| person.session_id)
}

/// What texts are shared under: the same question, asked with the same rights in the same organization.
fn key(template: &Template, scope: &OrgScope) -> Option<u128> {
    let mut digest = Sha256::new();
    digest.update(template.fingerprint.as_ref()?);
    digest.update(scope.permissions().bits().to_be_bytes());
    let digest = digest.finalize();
    Some(digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte)))
}

fn is_unavailable(error: &Error) -> bool {
    matches!(error, Error::Refused(refusal) if refusal.code == Code::Unavailable)
}

/// Whether an event may change what this caller may do or see.
fn concerns(event: &event::Model, caller: &Caller) -> bool {
    if !event.r#type.changes_rights() {
        return false;
    }
    let membership = caller.scope.as_ref().and_then(OrgScope::membership);
    match (&caller.identified, event.subject_kind.as_str()) {
        (Some(Identified::Person(_)), kind::Membership::PREFIX) => {
            membership.is_none_or(|membership| membership.id.uuid() == event.subject_id)
        }
        (Some(Identified::Person(_)), kind::ApiKey::PREFIX) => false,
        (Some(Identified::ApiKey(holder)), kind::ApiKey::PREFIX) => holder.key.id.uuid() == event.subject_id,
        // The organization, its plan; of a key also its maker's membership.
        _ => true,
    }
}
