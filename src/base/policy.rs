//! Who may do what: THE table. Code asks `scope.require(Permission::…)`; who holds it is answered only here.
//!
//! A guarded field names its permission once, as a directive: `#[graphql(directive = requires::apply(Permission::…))]`.
//! The SDL prints it, and `graphql::guard` enforces what the schema says, so the two can't drift.

use std::collections::BTreeMap;

use async_graphql::{
    Enum, TypeDirective,
    resolver_utils::{EnumType as _, enum_value},
};

use super::plan;
use crate::base::enums::{Feature, Role};

/// A right. The same names are API-key scopes.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read items, comments, tags and teams.
    ItemRead,
    /// Create and change items, archive them, and create tags.
    ItemWrite,
    /// Move items to the trash, and bring them back.
    ItemDelete,
    /// Delete items for good; with ITEM_DELETE.
    ItemPurge,
    /// Comment, and change or delete one's own comments.
    CommentWrite,
    /// Change or delete anybody's comments; with COMMENT_WRITE.
    CommentModerate,
    /// Change, merge and delete tags.
    TagManage,
    /// Create, change and delete teams.
    TeamManage,
    /// Read who is a member, and their e-mail addresses.
    MemberRead,
    /// Invite and remove members, change their roles, suspend them.
    MemberManage,
    /// Read statistics. No field needs it yet.
    AnalyticsRead,
    /// See all events of the ledger, and where they came from.
    AuditRead,
    /// Read how much the API is used.
    UsageRead,
    /// Make exports. No field needs it yet.
    ExportCreate,
    /// See, make, change, rotate and revoke API keys.
    ApiKeyManage,
    /// See and manage webhooks and inbound hooks.
    WebhookManage,
    /// Change the plan, and see where it is paid for.
    BillingManage,
    /// Change the organization's name, slug and time zone.
    OrganizationManage,
    /// Delete the organization.
    OrganizationDelete,
}

impl Permission {
    /// THE table: the least role that holds it. Higher roles hold what lower ones do.
    pub const fn least_role(self) -> Role {
        match self {
            Self::ItemRead | Self::MemberRead | Self::AnalyticsRead => Role::Viewer,
            Self::ItemWrite | Self::ItemDelete | Self::CommentWrite | Self::ExportCreate => Role::Member,
            Self::ItemPurge
            | Self::CommentModerate
            | Self::TagManage
            | Self::TeamManage
            | Self::MemberManage
            | Self::AuditRead
            | Self::UsageRead
            | Self::ApiKeyManage
            | Self::WebhookManage
            | Self::OrganizationManage => Role::Admin,
            Self::BillingManage | Self::OrganizationDelete => Role::Owner,
        }
    }

    /// The permission as the SDL names it, `ITEM_READ`.
    pub fn name(self) -> String {
        enum_value(self).to_string()
    }

    /// Every permission, as they are declared.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::items().iter().map(|item| item.value)
    }

    /// The permission that the SDL calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::items().iter().find(|item| item.name == name).map(|item| item.value)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Effective rights: a role's, or fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// All that the table gives a role.
    pub fn of(role: Role) -> Self {
        Permission::all().filter(|permission| role >= permission.least_role()).collect()
    }

    /// Those that a JSON list names; unknown names give nothing.
    pub fn named(names: &serde_json::Value) -> Self {
        let names = names.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        names.filter_map(Permission::named).collect()
    }

    /// One bit a permission; two sets are equal when these are.
    pub const fn bits(self) -> u32 {
        self.0
    }

    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::all().filter(move |permission| self.contains(*permission))
    }
}

impl std::ops::BitAnd for Permissions {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

/// Who may select a field, where no single permission decides.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, also without credentials.
    Public,
    /// Any authenticated caller, with or without an organization. What concerns a person's own account refuses API keys.
    User,
    /// Any caller within an organization, of any role or scope.
    Member,
}

/// The permission a caller needs to select this field; the same names are API-key scopes. On an object: needed on every
/// way to it, `node` then gives null.
#[TypeDirective(location = "FieldDefinition", location = "Object")]
pub fn requires(#[graphql(desc = "What the caller must hold.")] permission: Permission) {}

/// Who may select this field, where no single permission decides.
#[TypeDirective(location = "FieldDefinition")]
pub fn access(#[graphql(desc = "How much the caller must be known.")] level: Access) {}

/// The feature that the organization's plan must include for this field, beside what the caller may do.
#[TypeDirective(name = "inPlan", location = "FieldDefinition")]
pub fn in_plan(#[graphql(desc = "What the plan must include.")] feature: Feature) {}

/// The table as `docs/POLICY.md` shows it, with the guarded fields that the schema declares: by permission or access
/// level, and by feature.
pub fn markdown(fields: &BTreeMap<String, Vec<String>>, features: &BTreeMap<Feature, Vec<String>>) -> String {
    use std::fmt::Write;
    let roles = [Role::Owner, Role::Admin, Role::Member, Role::Viewer];
    let mut page = String::from(
        "# Who may do what\n\nGenerated from `src/base/policy.rs` and the schema; a test fails when it drifts and names the command\n\
         that refreshes it. A role holds what the roles to its right hold.\n\n\
         | permission | OWNER | ADMIN | MEMBER | VIEWER | needed for |\n|---|---|---|---|---|---|\n",
    );
    for permission in Permission::all() {
        let name = permission.name();
        let held = roles.map(|role| if Permissions::of(role).contains(permission) { "✓" } else { "" });
        let needed = fields.get(&name).map(|fields| fields.join(", ")).unwrap_or_default();
        let _ = writeln!(page, "| {name} | {} | {needed} |", held.join(" | "));
    }
    for level in [Access::Public, Access::User, Access::Member] {
        let name = enum_value(level).to_string();
        let needed = fields.get(&name).map(|fields| fields.join(", ")).unwrap_or_default();
        let _ = write!(page, "\n**{name}**: {needed}\n");
    }
    page.push_str(
        "\n## What a plan must include\n\nBeside the permission. Reading and deleting what was made before stay possible \
         after a downgrade.\n\n| feature | from the plan | needed for |\n|---|---|---|\n",
    );
    for (feature, fields) in features {
        let (feature, plan) = (enum_value(*feature), enum_value(plan::least(*feature)));
        let _ = writeln!(page, "| {feature} | {plan} | {} |", fields.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_nested() {
        let held = [Role::Viewer, Role::Member, Role::Admin, Role::Owner].map(|role| Permissions::of(role).0);
        for pair in held.windows(2) {
            assert_eq!(pair[0] & pair[1], pair[0], "a higher role lost a right of a lower one");
        }
        assert_eq!(
            Permissions::of(Role::Owner).iter().count(),
            Permission::items().len(),
            "an owner holds every permission"
        );
    }
}
