//! One operation, from any transport: gate, credentials, execution, finished errors.

use std::{sync::Arc, time::Instant};

use async_graphql::{Request, Response, parser::types::OperationType};

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
    db::{OrgScope, identity::OrganizationChoice},
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
        let caller = self.caller(envelope, needs_caller, is_query).await?;
        answer.scope.clone_from(&caller.scope);
        answer.organization = caller.scope.as_ref().map(|scope| scope.organization_id().to_string());
        answer.actor = caller.identified.as_ref().map(|identified| identified.actor().any_id().to_string());
        let context = RequestContext::new(self.state.clone(), caller, envelope.origin.clone());
        let execution = self.schema.execute(request.data(context));
        tokio::time::timeout(self.state.config.limits.timeout, execution).await.map_err(|_| {
            Error::from(Refusal::new(Code::Timeout, "The operation took too long and was stopped; ask for less."))
        })
    }

    /// Who is calling. A credential that is not good stops a query; a mutation of public fields alone (signing in,
    /// refreshing) is answered whatever stale token a client still sends.
    async fn caller(&self, envelope: &Envelope, needed: bool, is_query: bool) -> Result<Caller> {
        let credential = envelope.credential.as_ref();
        let (path, header) = &envelope.organization;
        let choice = path.as_deref().or(header.as_deref()).map(OrganizationChoice::parse);
        let caller = match self.authenticator.authenticate(credential, choice.as_ref(), &envelope.origin).await {
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
