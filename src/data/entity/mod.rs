//! One file per table, flat, without logic. Which tables a tenant owns is said here, once.

pub mod account_token;
mod actor;
pub mod api_key;
pub mod billing_event;
pub mod comment;
pub mod credential;
pub mod document_set;
pub mod event;
mod event_type;
pub mod idempotency;
pub mod inbound_hook;
pub mod inbound_receipt;
pub mod invitation;
pub mod invitation_team;
pub mod item;
pub mod item_assignee;
pub mod item_tag;
pub mod job;
pub mod ledger_head;
pub mod membership;
pub mod organization;
pub mod refresh_token;
pub mod security_event;
pub mod sent_email;
pub mod session;
pub mod sign_in_failure;
pub mod signing_key;
pub mod store_probe;
pub mod tag;
pub mod team;
pub mod team_member;
pub mod trusted_document;
pub mod usage;
pub mod user;
pub mod webhook;
pub mod webhook_attempt;
pub mod webhook_delivery;
pub mod webhook_queue;

pub use actor::ActorRef;
pub use event_type::EventType;

use std::sync::Arc;

use sea_orm::{EntityTrait, IntoActiveModel, ModelTrait};

use crate::base::{
    clock::Instant,
    id::{AnyId, Id, Kind, kind},
};

/// A table whose rows belong to one organization: reached through `OrgScope` and `WriteTx` alone.
pub trait Tenant: EntityTrait<Model: Send + Sync> {
    /// The column that names the organization.
    const ORGANIZATION: Self::Column;
    /// The column that says since when a row is gone for everybody although it is still there, because a job is taking it
    /// off what refers to it. `db::Scoped` passes over such rows.
    const REMOVED: Option<Self::Column> = None;
}

/// A table that no organization owns: reached through `Db` and `AccountTx`.
pub trait Global: EntityTrait<Model: Send + Sync> {}

macro_rules! tables {
    (tenant: $($tenant:ident)*; removable: $($removable:ident)*; global: $($global:ident)*) => {
        $(impl Tenant for $tenant::Entity { const ORGANIZATION: $tenant::Column = $tenant::Column::OrganizationId; })*
        $(impl Tenant for $removable::Entity {
            const ORGANIZATION: $removable::Column = $removable::Column::OrganizationId;
            const REMOVED: Option<$removable::Column> = Some($removable::Column::RemovedAt);
        })*
        $(impl Global for $global::Entity {})*
    };
}

tables! {
    tenant: api_key billing_event comment document_set event inbound_hook inbound_receipt invitation invitation_team item item_assignee item_tag ledger_head team_member trusted_document usage webhook webhook_attempt webhook_delivery webhook_queue;
    removable: membership tag team;
    global: account_token credential idempotency sent_email organization refresh_token security_event session sign_in_failure signing_key store_probe user
}

/// A tenant's table whose rows have an id of their own.
pub trait Keyed: Tenant {
    type Kind: Kind;
    const ID: Self::Column;
    /// What a caller is told is missing.
    const WHAT: &'static str;
    fn id(row: &Self::Model) -> Id<Self::Kind>;
}

macro_rules! keyed {
    ($($table:ident $kind:ident $what:literal;)*) => {
        $(impl Keyed for $table::Entity {
            type Kind = kind::$kind;
            const ID: $table::Column = $table::Column::Id;
            const WHAT: &'static str = $what;
            fn id(row: &$table::Model) -> Id<kind::$kind> { row.id }
        }
        impl Findable for $table::Model {
            fn any_id(&self) -> Option<AnyId> { Some(self.id.any()) }
        })*
    };
}

/// A tenant's row as it is written whole: with every column, so that none is left out.
pub trait Row: ModelTrait<Entity: RowOf<Self>> + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel> {}

impl<M> Row for M where M: ModelTrait<Entity: RowOf<M>> + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel> {}

/// The table of such rows.
pub trait RowOf<M>: Tenant + EntityTrait<Model = M, ActiveModel: Send + Sync + Clone + 'static> {}

impl<M, E> RowOf<M> for E where E: Tenant + EntityTrait<Model = M, ActiveModel: Send + Sync + Clone + 'static> {}

/// A row whose changes are counted, so that a client can say which state it has seen.
pub trait Versioned {
    fn version(&self) -> i32;
    /// Makes it the next version, changed now.
    fn advance(&mut self, now: Instant);
}

macro_rules! versioned {
    ($($table:ident $($changed_at:ident)?;)*) => {
        $(impl Versioned for $table::Model {
            fn version(&self) -> i32 {
                self.version
            }

            #[allow(unused_variables, reason = "not every table has the column")]
            fn advance(&mut self, now: Instant) {
                self.version += 1;
                $(self.$changed_at = now.into();)?
            }
        })*
    };
}

versioned! {
    api_key;
    comment edited_at;
    document_set updated_at;
    inbound_hook;
    item updated_at;
    membership;
    organization updated_at;
    tag updated_at;
    team updated_at;
    user updated_at;
    webhook updated_at;
}

/// What a write gives, as far as a repeat of it must find it again.
pub trait Findable {
    /// The id of the object; `None` for what a repeat can't be given again.
    fn any_id(&self) -> Option<AnyId>;
}

impl Findable for () {
    fn any_id(&self) -> Option<AnyId> {
        None
    }
}

impl<K: Kind> Findable for Id<K> {
    fn any_id(&self) -> Option<AnyId> {
        Some(self.any())
    }
}

impl<T: Findable> Findable for Arc<T> {
    fn any_id(&self) -> Option<AnyId> {
        T::any_id(self)
    }
}

/// An object with what comes only once: a secret, tokens.
impl<T: Findable, O> Findable for (T, O) {
    fn any_id(&self) -> Option<AnyId> {
        self.0.any_id()
    }
}

impl Findable for organization::Model {
    fn any_id(&self) -> Option<AnyId> {
        Some(self.id.any())
    }
}

impl Findable for user::Model {
    fn any_id(&self) -> Option<AnyId> {
        Some(self.id.any())
    }
}

keyed! {
    api_key ApiKey "API key";
    comment Comment "comment";
    document_set DocumentSet "document set";
    event Event "event";
    inbound_hook InboundHook "inbound hook";
    inbound_receipt InboundReceipt "receipt";
    invitation Invitation "invitation";
    item Item "item";
    membership Membership "member";
    tag Tag "tag";
    team Team "team";
    webhook Webhook "webhook";
    webhook_delivery WebhookDelivery "delivery";
}
