use async_graphql::{Context, Enum, OutputType as _, SimpleObject};
use sea_orm::{EnumIter, Iterable};

use crate::{
    base::id::{AnyId, Kind, kind},
    domains::{
        Node, comments::types::Comment, items::types::Item, members::types::Membership,
        organizations::types::Organization, relations::types::ItemRelation, tags::types::Tag, teams::types::Team,
    },
    graphql::{guard, scalars::Cursor},
};

/// Kinds of objects that `sync` tells of. A snapshot walks them in the order of their declaration.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter)]
pub enum SyncType {
    /// The organization itself.
    Organization,
    /// Its members. Needs MEMBER_READ.
    Membership,
    /// Its teams. Needs ITEM_READ.
    Team,
    /// Its tags. Needs ITEM_READ.
    Tag,
    /// Its items, those in the trash included. Needs ITEM_READ.
    Item,
    /// Comments on its items. Needs ITEM_READ.
    Comment,
    /// Relations between its items. Needs ITEM_READ.
    ItemRelation,
}

impl SyncType {
    /// The prefix of its ids, by which events name the kind of their subject.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Organization => kind::Organization::PREFIX,
            Self::Membership => kind::Membership::PREFIX,
            Self::Team => kind::Team::PREFIX,
            Self::Tag => kind::Tag::PREFIX,
            Self::Item => kind::Item::PREFIX,
            Self::ItemRelation => kind::ItemRelation::PREFIX,
            Self::Comment => kind::Comment::PREFIX,
        }
    }

    /// Whether the type's own rule lets the caller through.
    pub fn is_visible(self, ctx: &Context<'_>) -> bool {
        let name = match self {
            Self::Organization => Organization::type_name(),
            Self::Membership => Membership::type_name(),
            Self::Team => Team::type_name(),
            Self::Tag => Tag::type_name(),
            Self::Item => Item::type_name(),
            Self::ItemRelation => ItemRelation::type_name(),
            Self::Comment => Comment::type_name(),
        };
        guard::may_see(ctx, &name)
    }
}

/// A set of types: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncTypes(u8);

impl SyncTypes {
    pub const fn bits(self) -> u8 {
        self.0
    }

    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub const fn contains(self, ty: SyncType) -> bool {
        self.0 & (1 << ty as u8) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = SyncType> {
        SyncType::iter().filter(move |ty| self.contains(*ty))
    }
}

impl FromIterator<SyncType> for SyncTypes {
    fn from_iter<T: IntoIterator<Item = SyncType>>(types: T) -> Self {
        Self(types.into_iter().fold(0, |bits, ty| bits | 1 << ty as u8))
    }
}

/// One page of a sync. Apply it, keep `cursor`, and ask again with it: at once while `hasMore`.
#[derive(SimpleObject, Clone, Debug)]
pub struct SyncPage {
    /// Objects as they are now: put each in the place of the one with its id.
    pub nodes: Vec<Node>,
    /// Objects to drop: deleted, or no longer visible to the caller. Unknown ones are no mistake.
    pub removed_ids: Vec<AnyId>,
    /// Where the next page begins, for `after`.
    pub cursor: Cursor,
    /// Whether there is more already.
    pub has_more: bool,
}
