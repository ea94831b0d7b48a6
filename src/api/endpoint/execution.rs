//! Executing what was admitted: by a replica where that may answer, within its time, and paid for.

use std::time::Duration;

use async_graphql::{Request, Response};

use super::{Answer, Api, MINIMUM_COST, admission::Admitted, timed_out};
use crate::{
    api::validation::ValidRequest,
    data::db::{OrgScope, ReadFrom},
    graphql::{budget::AnswerBudget, context::RequestContext, error::code_of, response::has_data},
    platform::auth::session::Caller,
};

/// How long a query may take that reads from a replica, before the database is asked instead.
const REPLICA_PATIENCE: Duration = Duration::from_secs(3);

/// How often a query that fails there is tried at a replica: first on a connection that is lost, then on one that was just
/// opened, then knowing what the replica has that is behind it.
const REPLICA_TRIES: u32 = 3;

impl Api {
    /// Runs what was admitted.
    pub(super) async fn run(&self, request: Request, admitted: Admitted) -> Answer {
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

    /// Executes a query by a replica where that has everything, all else by the database itself; so, too, what hangs at the
    /// replica or fails again and again: it may go at any time, or end a query that is in the way of what it follows.
    async fn perform(&self, mut request: Request, admitted: &Admitted) -> (Response, AnswerBudget) {
        if self.state.db.has_replica()
            && let Some(done) = Box::pin(self.perform_by_replica(&mut request, admitted)).await
        {
            return done;
        }
        self.perform_as(request, admitted, admitted.caller.clone()).await
    }

    async fn perform_by_replica(&self, request: &mut Request, admitted: &Admitted) -> Option<(Response, AnswerBudget)> {
        for attempt in 1..=REPLICA_TRIES {
            let scope = self.replica_for(admitted).await?;
            let caller = Caller { scope: Some(scope.clone()), ..admitted.caller.clone() };
            let execution = self.perform_as(same_again(request), admitted, caller);
            let done =
                tokio::time::timeout(REPLICA_PATIENCE.min(self.state.config.limits.timeout / 2), execution).await;
            let is_of_replica = |code| matches!(code, Some("UNAVAILABLE" | "INTERNAL"));
            let (cause, is_last) = match done {
                Err(_) => ("a query got no answer in time".to_owned(), true),
                Ok(done) => match done.0.errors.iter().find(|error| is_of_replica(code_of(error))) {
                    Some(error) => (error.message.clone(), attempt == REPLICA_TRIES),
                    None => {
                        self.state.metrics.replica_query("replica");
                        return Some(done);
                    }
                },
            };
            scope.suspect_replica(&cause).await;
            if is_last {
                self.state.metrics.replica_query("failed");
                break;
            }
        }
        None
    }

    async fn perform_as(&self, request: Request, admitted: &Admitted, caller: Caller) -> (Response, AnswerBudget) {
        let mut context = RequestContext::new(&self.state, caller, admitted.origin.clone());
        context.charge = admitted.charge;
        let (budget, loads) = (context.budget.clone(), context.loads.clone());
        let request = request.data(context).data(self.document_check.clone());
        let execution = Box::pin(self.schema.execute(request));
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
