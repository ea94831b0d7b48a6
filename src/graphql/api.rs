//! One operation, from any transport: gate, credentials, execution, finished errors.

use std::{sync::Arc, time::Instant};

use async_graphql::{Request, Response, Value, parser::types::OperationType};
use sha2::{Digest, Sha256};

use super::{
    context::RequestContext,
    error::{finish, server_error},
    gate::{Gate, Passed},
    schema::{self, ApiSchema},
};
use crate::{
    auth::{
        actor::Origin,
        session::{Authenticator, Caller, Credential},
    },
    db::{OrgScope, idempotency::Idempotency, identity::OrganizationChoice},
    error::{Code, Error, Refusal, Result},
    metering::Measured,
    state::State,
};

/// The API, ready to execute. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub state: State,
    pub schema: ApiSchema,
    authenticator: Authenticator,
    gate: Arc<Gate>,
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
    /// GET: nothing but queries.
    pub only_queries: bool,
}

/// The answer, with what the transport's log line says about it.
#[derive(Debug)]
pub struct Answer {
    pub response: Response,
    pub passed: Option<Passed>,
    pub organization: Option<String>,
    pub actor: Option<String>,
    /// In whose usage it is counted; none before the caller is known, and without an organization.
    pub scope: Option<OrgScope>,
    /// A mutation came by GET.
    pub wrong_method: bool,
}

impl Api {
    pub fn new(state: State) -> Self {
        let limits = &state.config.limits;
        let gate = Arc::new(Gate::new(schema::registry(), limits.clone()));
        Self { schema: schema::build(limits), authenticator: state.authenticator(), gate, state }
    }

    /// Executes one operation. Whatever goes wrong is in the answer.
    pub async fn execute(&self, request: Request, envelope: &Envelope) -> Answer {
        let begun = Instant::now();
        let mut answer = Answer {
            response: Response::default(),
            passed: None,
            organization: None,
            actor: None,
            scope: None,
            wrong_method: false,
        };
        match self.run(request, envelope, &mut answer).await {
            Ok(response) => answer.response = response,
            Err(error) => answer.response = Response::from_errors(vec![server_error(error)]),
        }
        finish(&mut answer.response, &envelope.origin.request_id);
        self.count(&answer, begun);
        answer
    }

    /// Counts the request in its organization's usage, however it ended.
    fn count(&self, answer: &Answer, begun: Instant) {
        if let (Some(scope), Some(passed)) = (&answer.scope, &answer.passed) {
            let failed = !answer.response.errors.is_empty();
            let (operation, elapsed) = (passed.label(), begun.elapsed());
            self.state.usage.record(scope, Measured { operation, cost: passed.cost, elapsed, failed });
        }
    }

    async fn run(&self, mut request: Request, envelope: &Envelope, answer: &mut Answer) -> Result<Response> {
        let passed = self.gate.check(&mut request)?;
        let is_query = passed.operation == OperationType::Query;
        let needs_caller = passed.needs_caller;
        answer.passed = Some(passed);
        if envelope.only_queries && !is_query {
            answer.wrong_method = true;
            return Err(Refusal::bad_request("Only queries may be sent with GET; use POST.").into());
        }
        let mut origin = envelope.origin.clone();
        if !is_query {
            origin.idempotency = idempotency(&request, envelope.idempotency_key.as_deref())?.map(Arc::new);
        }
        let caller = self.caller(envelope, &origin, needs_caller, is_query).await?;
        answer.scope.clone_from(&caller.scope);
        answer.organization = caller.scope.as_ref().map(|scope| scope.organization_id().to_string());
        answer.actor = caller.identified.as_ref().map(|identified| identified.actor().any_id().to_string());
        if let (Some(idempotency), Some(identified)) = (&origin.idempotency, &caller.identified) {
            let organization_id = caller.scope.as_ref().map(|scope| scope.organization_id());
            idempotency.belongs_to(organization_id, identified.actor());
        }
        let context = RequestContext::new(self.state.clone(), caller, origin);
        let execution = self.schema.execute(request.data(context));
        tokio::time::timeout(self.state.config.limits.timeout, execution).await.map_err(|_| {
            Error::from(Refusal::new(Code::Timeout, "The operation took too long and was stopped; ask for less."))
        })
    }

    /// Who is calling. A credential that is not good stops a query; a mutation of public fields alone (signing in,
    /// refreshing) is answered whatever stale token a client still sends.
    async fn caller(&self, envelope: &Envelope, origin: &Origin, needed: bool, is_query: bool) -> Result<Caller> {
        let credential = envelope.credential.as_ref();
        let (path, header) = &envelope.organization;
        let choice = path.as_deref().or(header.as_deref()).map(OrganizationChoice::parse);
        let caller = match self.authenticator.authenticate(credential, choice.as_ref(), origin).await {
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
