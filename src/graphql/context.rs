//! What resolvers ask of the request: who is calling, in which organization, and the loaders of this request.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use async_graphql::{Context, dataloader::DataLoader};

use super::{
    budget::{AnswerBudget, text_bytes},
    loaders::Loaders,
    loads::Loads,
    rule::Rule,
};
use crate::{
    base::{
        error::{Code, Refusal, Result},
        id::OrganizationId,
        policy::Access,
    },
    data::{
        actor::{Origin, Person},
        db::{
            OrgScope,
            identity::{Identified, OrganizationChoice},
        },
    },
    graphql::{loaders::ScopedLoader, scalars::Markdown},
    platform::{auth::session::Caller, rate_limit::bucket::Level, state::State},
};

/// Data of one request (one operation, on a socket). Never holds a transaction.
#[derive(Debug)]
pub struct RequestContext {
    pub state: State,
    pub origin: Origin,
    /// Batches that the request has begun. Whatever executes it drives them.
    pub loads: Loads,
    /// What was taken for this request before it ran.
    pub charge: Charge,
    /// Room in the answer.
    pub budget: AnswerBudget,
    /// Whom the request came from.
    sender: CallerView,
    /// Who stands in for the sender below one mutation: see [`RequestContext::adopt`]. One place for each root field.
    adopted: OnceLock<Box<[OnceLock<CallerView>]>>,
    /// The root mutation that runs.
    mutation: AtomicUsize,
}

/// What an operation cost its caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charge {
    /// Points at most, taken before it ran.
    pub requested: u64,
    /// Points it needed; 0 until it has run.
    pub actual: u64,
    /// What the bucket holds now; `None` without a limit.
    pub level: Option<Level>,
}

/// A caller with the loaders that see with their eyes.
#[derive(Debug)]
struct CallerView {
    caller: Caller,
    loaders: Loaders,
}

impl CallerView {
    fn new(caller: Caller) -> Self {
        Self { caller, loaders: Loaders::default() }
    }
}

impl RequestContext {
    pub fn new(state: &State, caller: Caller, origin: Origin) -> Self {
        let budget = AnswerBudget::new(state.config.limits.answer_bytes);
        Self {
            // Whatever the request reads and writes takes its caller's share.
            state: state.used_by(caller.consumer(&origin)),
            origin,
            budget,
            loads: Loads::default(),
            charge: Charge::default(),
            sender: CallerView::new(caller),
            adopted: OnceLock::new(),
            mutation: AtomicUsize::new(0),
        }
    }

    fn view(&self) -> &CallerView {
        let adopted = self.adopted.get().and_then(|places| places.get(self.mutation.load(Ordering::Relaxed)));
        adopted.and_then(OnceLock::get).unwrap_or(&self.sender)
    }

    pub fn caller(&self) -> &Caller {
        &self.view().caller
    }

    /// Lets the rest of this one mutation be seen by `caller`: the person who has just signed in, the organization just
    /// founded or joined. Mutations run one after the other, so the next one is the sender's again.
    pub fn adopt(&self, caller: Caller) {
        let make = || (0..=self.state.config.limits.root_fields).map(|_| OnceLock::new()).collect();
        if let Some(place) = self.adopted.get_or_init(make).get(self.mutation.load(Ordering::Relaxed)) {
            let _ = place.set(CallerView::new(caller));
        }
    }

    /// The next root mutation begins, at `path` of the answer.
    pub(super) fn next_mutation(&self, path: &str, rule: Option<Rule>) {
        self.mutation.fetch_add(1, Ordering::Relaxed);
        let Some(idempotency) = &self.origin.idempotency else { return };
        match rule {
            // What anybody may call answers with tokens, and has no caller whose key it could be.
            None | Some(Rule::Access(Access::Public)) => idempotency.leave(),
            Some(Rule::Access(Access::User)) => idempotency.enter(path, false),
            Some(Rule::Access(Access::Member) | Rule::Requires(_)) => idempotency.enter(path, true),
        }
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
        let caller = self.request().caller();
        match &caller.scope {
            Some(scope) => Ok(scope),
            None if caller.identified.is_none() => Err(Refusal::unauthenticated().into()),
            None => Err(caller.organization_required().into()),
        }
    }

    /// Whoever is calling; UNAUTHENTICATED for nobody.
    fn identified(&self) -> Result<&Identified> {
        self.request().caller().identified.as_ref().ok_or_else(|| Refusal::unauthenticated().into())
    }

    /// The person calling; UNAUTHENTICATED for nobody, FORBIDDEN for an API key, which has no account.
    fn person(&self) -> Result<&Person> {
        self.identified()?.person().ok_or_else(|| {
            let message = "This concerns a person's own account; an API key has none.";
            Refusal::new(Code::Forbidden, message).into()
        })
    }

    /// A text that may be long, counted: ANSWER_TOO_LARGE when the answer has no room for it.
    fn text<'t>(&self, text: &'t str) -> Result<&'t str> {
        self.request().budget.spend(text.len())?;
        Ok(text)
    }

    /// [`Self::text`] of Markdown, if there is any.
    fn markdown(&self, text: Option<&str>) -> Result<Option<Markdown>> {
        text.map(|text| Ok(Markdown(self.text(text)?.to_owned()))).transpose()
    }

    /// [`Self::text`] of JSON.
    fn json<'t>(&self, value: &'t serde_json::Value) -> Result<&'t serde_json::Value> {
        self.request().budget.spend(text_bytes(value))?;
        Ok(value)
    }

    /// The request's loader of a type: `ctx.loader::<Rows<item::Entity>>()?.load_one(id)`.
    fn loader<L: ScopedLoader>(&self) -> Result<Arc<DataLoader<L>>> {
        let (request, scope) = (self.request(), self.scope()?);
        Ok(request.view().loaders.of(scope, &request.loads))
    }
}

impl ContextExt for Context<'_> {
    fn request(&self) -> &RequestContext {
        self.data_unchecked::<RequestContext>()
    }
}

/// Lets the rest of the mutation be seen from an organization that the caller has just founded or joined.
pub async fn adopt_organization(ctx: &Context<'_>, id: OrganizationId) -> Result<()> {
    let (request, person) = (ctx.request(), ctx.person()?);
    let db = &request.state.db;
    let choice = OrganizationChoice::Id(id);
    if let Some(signed_in) = db.identify(person.session_id, person.user.id, Some(&choice)).await? {
        let scope = signed_in.scope(db, 0, request.origin.clone());
        let identified = Some(Identified::Person(signed_in.into()));
        request.adopt(Caller { identified, scope, ..Caller::default() });
    }
    Ok(())
}
