//! What resolvers ask of the request: who is calling, in which organization, and the loaders of this request.

use std::sync::OnceLock;

use async_graphql::Context;

use super::loaders::Loaders;
use crate::{
    auth::{
        actor::{Origin, Person},
        session::Caller,
    },
    db::OrgScope,
    error::{Refusal, Result},
    state::State,
};

/// Data of one request (one operation, on a socket). Never holds a transaction.
#[derive(Debug)]
pub struct RequestContext {
    pub state: State,
    pub caller: Caller,
    pub origin: Origin,
    loaders: OnceLock<Loaders>,
}

impl RequestContext {
    pub fn new(state: State, caller: Caller, origin: Origin) -> Self {
        Self { state, caller, origin, loaders: OnceLock::new() }
    }
}

/// Short ways to what is in [`RequestContext`].
pub trait ContextExt {
    fn request(&self) -> &RequestContext;

    fn state(&self) -> &State {
        &self.request().state
    }

    /// The organization of the request; ORGANIZATION_REQUIRED without one, UNAUTHENTICATED without a caller.
    fn scope(&self) -> Result<&OrgScope> {
        let caller = &self.request().caller;
        match &caller.scope {
            Some(scope) => Ok(scope),
            None if caller.identified.is_none() => Err(Refusal::unauthenticated().into()),
            None => Err(caller.organization_required().into()),
        }
    }

    /// The person calling; UNAUTHENTICATED without one.
    fn person(&self) -> Result<&Person> {
        match &self.request().caller.identified {
            Some(identified) => Ok(&identified.person),
            None => Err(Refusal::unauthenticated().into()),
        }
    }

    /// The loaders of this request, made at their first use.
    fn loaders(&self) -> Result<&Loaders> {
        let scope = self.scope()?;
        Ok(self.request().loaders.get_or_init(|| Loaders::new(scope)))
    }
}

impl ContextExt for Context<'_> {
    fn request(&self) -> &RequestContext {
        self.data_unchecked::<RequestContext>()
    }
}
