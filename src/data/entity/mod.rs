//! One file per table, flat, without logic. Whose rows it holds is said in the table's own file.

/// Whose rows a table holds: `tenant` (an organization's), `tenant, removable` (see [`Tenant::REMOVED`]), `global`; nothing
/// for a table that only its own module of `db` reads. After it, all columns in their order, `nullable` behind those that
/// are: the rows are then read by [`Decode`], faster.
macro_rules! table {
    ($($whose:ident),* $(; $($column:ident $($how:ident)?),+)?) => {
        #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
        pub enum Relation {}

        impl ActiveModelBehavior for ActiveModel {}

        table!(@ $($whose),*);

        impl $crate::data::entity::Decode for Entity {
            $(
                const COLUMNS: &[&str] = &[$(stringify!($column)),+];

                fn decode(row: &QueryResult, _: &str, first: usize) -> Result<Model, DbErr> {
                    let mut values = $crate::data::entity::decode::Values::from(row, first);
                    // Evaluated in the order written.
                    Ok(Model { $($column: table!(@read values $($how)?)),+ })
                }
            )?
        }
    };
    (@read $values:ident) => { $values.value()? };
    (@read $values:ident nullable) => { $values.nullable()? };
    (@) => {};
    (@ global) => {
        impl $crate::data::entity::Global for Entity {}
    };
    (@ tenant) => {
        impl $crate::data::entity::Tenant for Entity {
            const ORGANIZATION: Column = Column::OrganizationId;
        }
    };
    (@ tenant, removable) => {
        impl $crate::data::entity::Tenant for Entity {
            const ORGANIZATION: Column = Column::OrganizationId;
            const REMOVED: Option<Column> = Some(Column::RemovedAt);
        }
    };
}

/// A tenant's table whose rows have an id of this kind, and what a caller is told is missing.
macro_rules! keyed {
    ($kind:ident, $what:literal) => {
        impl $crate::data::entity::Keyed for Entity {
            type Kind = $crate::base::id::kind::$kind;
            const ID: Column = Column::Id;
            const WHAT: &'static str = $what;
            fn id(row: &Model) -> $crate::base::id::Id<Self::Kind> {
                row.id
            }
        }

        impl $crate::data::entity::Findable for Model {
            fn any_id(&self) -> Option<$crate::base::id::AnyId> {
                Some(self.id.any())
            }
        }
    };
}

/// Rows whose changes are counted in `version`, and noted in the column named, where there is one.
macro_rules! versioned {
    ($($changed_at:ident)?) => {
        impl $crate::data::entity::Versioned for Model {
            fn version(&self) -> i32 {
                self.version
            }

            #[allow(unused_variables, reason = "not every table has the column")]
            fn advance(&mut self, now: $crate::base::clock::Instant) {
                self.version += 1;
                $(self.$changed_at = now.into();)?
            }
        }
    };
}

pub mod account_token;
mod actor;
pub mod api_key;
pub mod billing_event;
pub mod comment;
pub mod credential;
mod decode;
pub mod document_set;
pub mod event;
mod event_type;
pub mod idempotency;
pub mod import;
pub mod import_part;
pub mod inbound_hook;
pub mod inbound_receipt;
pub mod invitation;
pub mod invitation_team;
pub mod item;
pub mod item_assignee;
pub mod item_relation;
pub mod item_tag;
pub mod item_watcher;
pub mod job;
pub mod ledger_epoch;
pub mod ledger_head;
pub mod membership;
pub mod organization;
pub mod profile_revision;
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
pub use decode::Decode;
pub use event_type::EventType;

use std::sync::Arc;

use sea_orm::{EntityTrait, IntoActiveModel, ModelTrait};
use serde_json::Value as Json;

use crate::base::{
    clock::Instant,
    error::Result,
    id::{AnyId, Id, Kind},
};

/// A table whose rows belong to one organization: reached through `OrgScope` and `WriteTx` alone.
pub trait Tenant: Decode + EntityTrait<Model: Send + Sync> {
    /// The column that names the organization.
    const ORGANIZATION: Self::Column;
    /// The column that says since when a row is gone for everybody although it is still there, because a job is taking it
    /// off what refers to it. `db::Scoped` passes over such rows.
    const REMOVED: Option<Self::Column> = None;
}

/// A table that no organization owns: reached through `Db` and `AccountTx`.
pub trait Global: Decode + EntityTrait<Model: Send + Sync> {}

/// A tenant's table whose rows have an id of their own.
pub trait Keyed: Tenant {
    type Kind: Kind;
    const ID: Self::Column;
    /// What a caller is told is missing.
    const WHAT: &'static str;
    fn id(row: &Self::Model) -> Id<Self::Kind>;
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

/// What a write gives, as far as a repeat of it must find it again.
pub trait Findable {
    /// The id of the object; `None` for what a repeat can't be given again.
    fn any_id(&self) -> Option<AnyId>;

    /// What became of each of many objects, as a repeat is told it.
    fn outcomes(&self) -> Result<Option<Json>> {
        Ok(None)
    }
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
