//! Results of mutations: the object, or `userErrors`, and the ledger's position; the first result again for a request that
//! is repeated under its idempotency key.

use std::{borrow::Cow, future::Future};

use async_graphql::{
    Context, ContextSelectionSet, Description, Object, OutputType, Positioned, ServerResult, SimpleObject, Value,
    indexmap::IndexSet,
    parser::types::Field,
    registry::{MetaType, MetaTypeId, Registry},
};
use serde_json::Value as Json;

use super::{context::ContextExt, error::UserError, scalars::Cursor, type_name::bare};
use crate::{
    base::{
        error::{Error, Rejected, Result},
        id::AnyId,
    },
    data::{
        db::{Committed, idempotency::Recorded, retrying},
        entity::Findable,
        ledger::LedgerCursor,
    },
    graphql::context::adopt_organization,
};

/// The interface `Payload`: whatever object a root field of `Mutation` answers with implements it. Registered after the
/// mutations, it finds them, so that nobody lists them.
pub struct Payload;

impl OutputType for Payload {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("Payload")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let mutations = registry.mutation_type.as_ref().and_then(|root| registry.types.get(root)?.fields());
        let answers = mutations.into_iter().flat_map(|fields| fields.values()).map(|field| bare(&field.ty).to_owned());
        let possible_types: IndexSet<String> = answers.collect();
        for payload in &possible_types {
            registry.add_implements(payload, &Self::type_name());
        }
        // An acknowledgement has the common fields and no others.
        AckPayload::create_type_info(registry);
        let common = registry.types.get(&*AckPayload::type_name()).and_then(MetaType::fields);
        let fields = common.cloned().unwrap_or_default();
        registry.create_output_type::<Self, _>(MetaTypeId::Interface, |_| MetaType::Interface {
            name: Self::type_name().into_owned(),
            description: Some("Common part of every mutation's result.".to_owned()),
            fields: fields.clone(),
            possible_types: possible_types.clone(),
            extends: false,
            keys: None,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: Some(std::any::type_name::<Self>()),
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        })
    }

    /// No field answers with it.
    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

/// A payload type of the schema.
pub trait Outcome: Sized {
    /// What it carries on success, and the present state on CONFLICT.
    type Object: Send;
    fn new(object: Option<Self::Object>, common: Common) -> Self;

    /// Whether the caller may see the object. Roles that write may read; an API key's scopes may be otherwise, and a write
    /// is no way around ITEM_READ.
    fn is_visible(_: &Context<'_>) -> bool {
        true
    }

    /// The object of an earlier answer, as it is now; `None` once it is gone. Secrets shown once don't come again.
    fn find_again(ctx: &Context<'_>, id: AnyId) -> impl Future<Output = Result<Option<Self::Object>>> + Send;

    /// The same of a bulk mutation, whose outcomes are on record.
    fn find_all_again(_: &Context<'_>, _: Json) -> impl Future<Output = Result<Option<Self::Object>>> + Send {
        std::future::ready(Ok(None))
    }
}

/// Gives a payload type the fields that all have; its `common` holds them.
macro_rules! payload_fields {
    ($name:ident) => {
        #[async_graphql::ComplexObject]
        impl $name {
            /// Empty when it succeeded.
            pub async fn user_errors(&self) -> &[$crate::graphql::error::UserError] {
                &self.common.user_errors
            }

            /// Ledger position just after this mutation: wait for it on a stream to read your own write. Null on failure.
            pub async fn cursor(&self) -> Option<$crate::graphql::scalars::Cursor> {
                self.common.cursor.clone()
            }
        }
    };
}
pub(crate) use payload_fields;

/// Declares a payload type: `ItemPayload { item: Item }`. `ApiKeyPayload { api_key: ApiKey } secret` has a text besides,
/// which is shown once.
macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $field:ident: $object:ident }) => {
        $(#[$doc])*
        #[derive(async_graphql::SimpleObject)]
        #[graphql(complex)]
        pub struct $name {
            /// The object as the mutation left it; on CONFLICT as it is now. Null on any other failure, and where the caller
            /// may not read it.
            pub $field: Option<$object>,
            #[graphql(skip)]
            pub common: $crate::graphql::payload::Common,
        }

        $crate::graphql::payload::payload_fields!($name);

        impl $crate::graphql::payload::Outcome for $name {
            type Object = $object;

            fn new(object: Option<$object>, common: $crate::graphql::payload::Common) -> Self {
                Self { $field: object, common }
            }

            fn is_visible(ctx: &async_graphql::Context<'_>) -> bool {
                $crate::graphql::guard::may_see(ctx, &<$object as async_graphql::OutputType>::type_name())
            }

            async fn find_again(
                ctx: &async_graphql::Context<'_>,
                id: $crate::base::id::AnyId,
            ) -> $crate::base::error::Result<Option<$object>> {
                $crate::graphql::node::find::<$object>(ctx, id).await
            }
        }
    };
    ($(#[$doc:meta])* $name:ident { $field:ident: $object:ident } $secret:ident) => {
        $(#[$doc])*
        #[derive(async_graphql::SimpleObject)]
        #[graphql(complex)]
        pub struct $name {
            /// The object as the mutation left it; on CONFLICT as it is now. Null on any other failure, and where the caller
            /// may not read it.
            pub $field: Option<$object>,
            /// Given this once: null when none was made, and in a repeat under an idempotency key.
            pub $secret: Option<String>,
            #[graphql(skip)]
            pub common: $crate::graphql::payload::Common,
        }

        $crate::graphql::payload::payload_fields!($name);

        impl $crate::graphql::payload::Outcome for $name {
            type Object = ($object, Option<String>);

            fn new(made: Option<Self::Object>, common: $crate::graphql::payload::Common) -> Self {
                let (object, secret) = made.unzip();
                Self { $field: object, $secret: secret.flatten(), common }
            }

            async fn find_again(
                ctx: &async_graphql::Context<'_>,
                id: $crate::base::id::AnyId,
            ) -> $crate::base::error::Result<Option<Self::Object>> {
                Ok($crate::graphql::node::find::<$object>(ctx, id).await?.map(|found| (found, None)))
            }
        }
    };
}
pub(crate) use payload;

/// What every payload has.
#[derive(Clone, Debug, Default)]
pub struct Common {
    pub user_errors: Vec<UserError>,
    pub cursor: Option<Cursor>,
}

impl Common {
    /// Of a success.
    fn at(cursor: Option<LedgerCursor>) -> Self {
        Self { user_errors: Vec::new(), cursor: cursor.map(Cursor::from) }
    }
}

/// What was deleted, revoked or ended.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct DeletePayload {
    /// Id of what is gone; null on failure.
    pub deleted_id: Option<AnyId>,
    #[graphql(skip)]
    pub common: Common,
}

payload_fields!(DeletePayload);

impl Outcome for DeletePayload {
    type Object = AnyId;

    fn new(deleted_id: Option<AnyId>, common: Common) -> Self {
        Self { deleted_id, common }
    }

    async fn find_again(_: &Context<'_>, id: AnyId) -> Result<Option<AnyId>> {
        Ok(Some(id))
    }
}

/// Says whether it succeeded, and nothing else.
#[derive(Description)]
pub struct AckPayload(Common);

#[Object(use_type_description)]
impl AckPayload {
    /// Empty when it succeeded.
    pub async fn user_errors(&self) -> &[UserError] {
        &self.0.user_errors
    }

    /// Ledger position just after this mutation: wait for it on a stream to read your own write. Null on failure.
    pub async fn cursor(&self) -> Option<Cursor> {
        self.0.cursor.clone()
    }
}

impl Outcome for AckPayload {
    type Object = ();

    fn new(_: Option<()>, common: Common) -> Self {
        Self(common)
    }

    async fn find_again(_: &Context<'_>, _: AnyId) -> Result<Option<()>> {
        Ok(Some(()))
    }
}

/// Runs a write, again after a conflict in the database, and makes the payload of the outcome. A failure that the
/// document would not see (it selects no `userErrors`) is raised to the top level. Under an idempotency key, a repeat
/// answers with what is on record.
pub async fn write<P, T, E, F>(
    ctx: &Context<'_>,
    attempt: impl FnMut() -> F,
    wrap: impl Fn(T) -> P::Object,
) -> Result<Option<P>>
where
    P: Outcome,
    T: Findable,
    F: Future<Output = Result<Committed<T>, E>>,
    E: AsRef<Error> + Into<Rejected<T>>,
{
    let request = ctx.request();
    let idempotency = request.origin.idempotency.as_ref();
    if let Some(idempotency) = idempotency
        && let Some(recorded) = request.state.db.recorded(idempotency).await?
    {
        return repeated(ctx, recorded).await;
    }
    let rejected = match retrying(attempt).await {
        Ok(done) => {
            let object = Some(wrap(done.value)).filter(|_| P::is_visible(ctx));
            return Ok(Some(P::new(object, Common::at(done.cursor))));
        }
        Err(rejected) => rejected.into(),
    };
    let settled = match (&rejected.error, idempotency) {
        (Error::Invalid(problems), Some(idempotency)) => {
            let object = rejected.present.as_ref().and_then(Findable::any_id);
            let outcomes = rejected.present.as_ref().map(Findable::outcomes).transpose()?.flatten();
            retrying(|| request.state.db.record_refusal(idempotency, problems, object, outcomes.clone())).await
        }
        (Error::Repeated, _) => Err(Error::Repeated),
        _ => Ok(()),
    };
    match (settled, idempotency) {
        (Err(Error::Repeated), Some(idempotency)) => match request.state.db.recorded(idempotency).await? {
            Some(recorded) => repeated(ctx, recorded).await,
            None => Err(Error::internal("a claimed idempotency key has no outcome")),
        },
        (Err(error), _) => Err(error),
        (Ok(()), _) => refused(ctx, rejected.error, rejected.present.map(wrap).filter(|_| P::is_visible(ctx))),
    }
}

/// A failure as data where the document looks for it, else raised.
fn refused<P: Outcome>(ctx: &Context<'_>, error: Error, present: Option<P::Object>) -> Result<Option<P>> {
    match error {
        Error::Invalid(problems) if ctx.look_ahead().field("userErrors").exists() => {
            let user_errors = problems.into_iter().map(UserError::from).collect();
            Ok(Some(P::new(present, Common { user_errors, cursor: None })))
        }
        error => Err(error),
    }
}

/// The answer to a repeat, made of what is on record.
async fn repeated<P: Outcome>(ctx: &Context<'_>, recorded: Recorded) -> Result<Option<P>> {
    let Recorded { object, problems, outcomes, cursor } = recorded;
    // A write that founded or joined an organization is seen from there.
    let here = ctx.request().caller().scope.as_ref().map(|scope| scope.organization_id());
    if let Some(cursor) = cursor.filter(|cursor| Some(cursor.organization_id) != here) {
        adopt_organization(ctx, cursor.organization_id).await?;
    }
    let object = match (object, outcomes) {
        (Some(id), _) => P::find_again(ctx, id).await?,
        (None, Some(outcomes)) => P::find_all_again(ctx, outcomes).await?,
        (None, None) => None,
    };
    match problems {
        Some(problems) => refused(ctx, Error::Invalid(problems), object),
        None => Ok(Some(P::new(object, Common::at(cursor)))),
    }
}
