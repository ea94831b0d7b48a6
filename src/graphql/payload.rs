//! Results of mutations: the object, or `userErrors`, and the ledger's position.

use std::future::Future;

use async_graphql::{Context, Interface, Object};

use super::{error::UserError, scalars::Cursor};
use crate::{
    db::{Committed, retrying},
    error::{Error, Rejected, Result},
    id::AnyId,
};

/// A payload type of the schema.
pub trait Outcome: Sized {
    /// What it carries on success, and the present state on CONFLICT.
    type Object;
    fn new(object: Option<Self::Object>, user_errors: Vec<UserError>, cursor: Option<Cursor>) -> Self;
}

/// Declares the payload types: `ItemPayload { item, userErrors, cursor }` and so on.
macro_rules! payload {
    ($($name:ident { $field:ident: $object:ty })*) => {$(
        #[derive(async_graphql::SimpleObject)]
        #[graphql(complex)]
        pub struct $name {
            pub $field: Option<$object>,
            #[graphql(skip)]
            pub common: $crate::graphql::payload::Common,
        }

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

        impl $crate::graphql::payload::Outcome for $name {
            type Object = $object;

            fn new(
                object: Option<$object>,
                user_errors: Vec<$crate::graphql::error::UserError>,
                cursor: Option<$crate::graphql::scalars::Cursor>,
            ) -> Self {
                Self { $field: object, common: $crate::graphql::payload::Common { user_errors, cursor } }
            }
        }
    )*};
}
pub(crate) use payload;

/// What every payload has.
#[derive(Clone, Debug, Default)]
pub struct Common {
    pub user_errors: Vec<UserError>,
    pub cursor: Option<Cursor>,
}

payload! {
    DeletePayload { deleted_id: AnyId }
}

/// Says whether it succeeded, and nothing else.
pub struct AckPayload(Common);

#[Object]
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

    fn new(_: Option<()>, user_errors: Vec<UserError>, cursor: Option<Cursor>) -> Self {
        Self(Common { user_errors, cursor })
    }
}

/// Common part of every mutation's result.
#[derive(Interface)]
#[graphql(
    field(name = "user_errors", ty = "&[UserError]", desc = "Empty when it succeeded."),
    field(
        name = "cursor",
        ty = "Option<Cursor>",
        desc = "Ledger position just after this mutation: wait for it on a stream to read your own write. Null on failure."
    )
)]
pub enum Payload {
    Ack(AckPayload),
    Delete(DeletePayload),
    Session(crate::accounts::types::SessionPayload),
    User(crate::accounts::types::UserPayload),
    Organization(crate::organizations::types::OrganizationPayload),
    Invitation(crate::members::types::InvitationPayload),
    Membership(crate::members::types::MembershipPayload),
    Team(crate::teams::types::TeamPayload),
    Tag(crate::tags::types::TagPayload),
    Item(crate::items::types::ItemPayload),
    Comment(crate::comments::types::CommentPayload),
}

/// Runs a write, again where the database gave way, and makes the payload of what came of it. A failure that the
/// document would not see (it selects no `userErrors`) is raised to the top level.
pub async fn write<P, T, E, F>(
    ctx: &Context<'_>,
    attempt: impl FnMut() -> F,
    wrap: impl Fn(T) -> P::Object,
) -> Result<Option<P>>
where
    P: Outcome,
    F: Future<Output = Result<Committed<T>, E>>,
    E: AsRef<Error> + Into<Rejected<T>>,
{
    match retrying(attempt).await {
        Ok(done) => {
            let cursor = done.cursor.map(|cursor| Cursor(cursor.encode()));
            Ok(Some(P::new(Some(wrap(done.value)), Vec::new(), cursor)))
        }
        Err(rejected) => match rejected.into() {
            Rejected { error: Error::Invalid(problems), present } if ctx.look_ahead().field("userErrors").exists() => {
                let errors = problems.into_iter().map(UserError::from).collect();
                Ok(Some(P::new(present.map(wrap), errors, None)))
            }
            Rejected { error, .. } => Err(error),
        },
    }
}
