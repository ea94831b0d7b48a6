use std::net::IpAddr;

use async_graphql::{InputObject, MaybeUndefined};
use ipnet::IpNet;
use serde_json::json;

use crate::{
    base::{
        error::{Problem, ProblemCode, Problems, Result},
        id::{ApiKeyId, ClientMade, DocumentSetId},
        policy::{Permission, Permissions},
    },
    data::entity::api_key,
    domains::accounts::input::required,
    graphql::scalars::DateTime,
};

/// Networks in one allow-list at most.
const MAX_NETWORKS: usize = 50;

/// Hours that a rotated secret may work on at most: a month.
const MAX_GRACE_HOURS: i32 = 720;

/// A new API key. Scopes may not exceed the creator's own permissions. A key that is made by a key may not outlive it
/// nor work from elsewhere, and is revoked with it.
#[derive(InputObject, Clone)]
pub struct ApiKeyCreateInput {
    /// Client-made id, `key_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result, without the secret.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<ApiKeyId>,
    /// What it is called, 1 to 100 characters.
    pub name: String,
    /// What it may do at most; at least one.
    pub scopes: Vec<Permission>,
    /// Addresses and networks (CIDR, IPv4 and IPv6) it may be used from, 50 at most; from anywhere when left out or
    /// empty.
    pub ip_allowlist: Option<Vec<String>>,
    /// When it ends, in the future; left out: never.
    pub expires_at: Option<DateTime>,
    /// The document set to bind it to: it runs nothing else. A key that is bound makes keys of the same set alone.
    pub document_set: Option<DocumentSetId>,
}

impl ApiKeyCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_name(&mut problems, &["input", "name"], &self.name);
        check_scopes(&mut problems, &["input", "scopes"], &self.scopes);
        check_networks(&mut problems, &["input", "ipAllowlist"], self.ip_allowlist.as_deref().unwrap_or_default());
        problems.finish()
    }

    pub fn scopes(&self) -> Permissions {
        self.scopes.iter().copied().collect()
    }

    pub fn networks(&self) -> Vec<IpNet> {
        networks(self.ip_allowlist.as_deref().unwrap_or_default())
    }
}

/// Changes to an API key. What is left out stays as it is.
#[derive(InputObject, Clone)]
pub struct ApiKeyPatch {
    /// What it is called, 1 to 100 characters. Can't be cleared.
    pub name: MaybeUndefined<String>,
    /// What it may do at most; at least one, and none added that the caller lacks. Can't be cleared.
    pub scopes: MaybeUndefined<Vec<Permission>>,
    /// Addresses and networks (CIDR, IPv4 and IPv6) it may be used from, 50 at most; null or empty: from anywhere.
    pub ip_allowlist: MaybeUndefined<Vec<String>>,
    /// When it ends, in the future; null: never.
    pub expires_at: MaybeUndefined<DateTime>,
    /// Null: it runs any document.
    pub document_set: MaybeUndefined<DocumentSetId>,
}

impl ApiKeyPatch {
    /// Writes what the patch says into the row.
    pub fn apply(&self, row: &mut api_key::Model) {
        let Self { name, scopes, ip_allowlist, expires_at, document_set } = self;
        if let MaybeUndefined::Value(name) = name {
            row.name = name.trim().to_owned();
        }
        if let MaybeUndefined::Value(scopes) = scopes {
            row.scopes = scopes_json(scopes.iter().copied().collect());
        }
        match ip_allowlist {
            MaybeUndefined::Undefined => {}
            MaybeUndefined::Null => row.ip_allowlist = json!([]),
            MaybeUndefined::Value(entries) => row.ip_allowlist = json!(networks(entries)),
        }
        expires_at.map_value(|end| end.0).update_to(&mut row.expires_at);
        document_set.update_to(&mut row.document_set_id);
    }
}

/// Which API key to change, and how. One that is revoked is INVALID_STATE.
#[derive(InputObject, Clone)]
pub struct ApiKeyUpdateInput {
    /// The API key.
    pub id: ApiKeyId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: ApiKeyPatch,
}

impl ApiKeyUpdateInput {
    pub fn validate(&self) -> Result<()> {
        let ApiKeyPatch { name, scopes, ip_allowlist, expires_at: _, document_set: _ } = &self.patch;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "name"], name);
        required(&mut problems, &["input", "patch", "scopes"], scopes);
        if let MaybeUndefined::Value(name) = name {
            check_name(&mut problems, &["input", "patch", "name"], name);
        }
        if let MaybeUndefined::Value(scopes) = scopes {
            check_scopes(&mut problems, &["input", "patch", "scopes"], scopes);
        }
        if let MaybeUndefined::Value(entries) = ip_allowlist {
            check_networks(&mut problems, &["input", "patch", "ipAllowlist"], entries);
        }
        problems.finish()
    }
}

/// Which API key gets a new secret. One that is revoked or has expired is INVALID_STATE.
#[derive(InputObject, Clone)]
pub struct ApiKeyRotateInput {
    /// The API key, not of somebody above the caller's own role.
    pub id: ApiKeyId,
    /// Hours that the old secret still works, 720 at most; 0 ends it at once.
    #[graphql(default = 24)]
    pub grace_hours: i32,
}

impl ApiKeyRotateInput {
    pub fn validate(&self) -> Result<()> {
        check_grace(self.grace_hours)
    }
}

/// Which API key to end. Ending it again is harmless.
#[derive(InputObject, Clone)]
pub struct ApiKeyRevokeInput {
    /// The API key.
    pub id: ApiKeyId,
}

/// How long a rotated secret may work on.
pub fn check_grace(hours: i32) -> Result<()> {
    if (0..=MAX_GRACE_HOURS).contains(&hours) {
        return Ok(());
    }
    let message = format!("Between 0 and {MAX_GRACE_HOURS} hours.");
    Err(Problem::new(ProblemCode::OutOfRange, &["input", "graceHours"], message)
        .details(json!({ "minimum": 0, "maximum": MAX_GRACE_HOURS }))
        .into())
}

/// Scopes as they are stored, in the policy table's order.
pub fn scopes_json(scopes: Permissions) -> serde_json::Value {
    scopes.iter().map(Permission::name).collect::<Vec<_>>().into()
}

fn check_name(problems: &mut Problems, path: &[&str], name: &str) {
    problems.length(path, name, 1, 100);
}

fn check_scopes(problems: &mut Problems, path: &[&str], scopes: &[Permission]) {
    if scopes.is_empty() {
        problems.push(ProblemCode::Required, path, "At least one scope.");
    }
}

fn check_networks(problems: &mut Problems, path: &[&str], entries: &[String]) {
    problems.count(path, entries.len(), MAX_NETWORKS);
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| network(entry).is_none()) {
        let index = index.to_string();
        let path: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
        let message = format!("`{}` is neither an IP address nor a network such as 10.0.0.0/8.", shorten(entry));
        problems.push(ProblemCode::Invalid, &path, message);
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn networks(entries: &[String]) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = entries.iter().filter_map(|entry| network(entry)).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// An address is the network of itself alone; IPv4 written as IPv6 is IPv4, as callers' addresses are.
fn network(entry: &str) -> Option<IpNet> {
    let entry = entry.trim();
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let network: IpNet = entry.parse().ok()?;
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            IpNet::new(v6.addr().to_canonical(), v6.prefix_len() - 96).ok().map(|network| network.trunc())
        }
        other => Some(other.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_one_way() {
        let written = |entry: &str| network(entry).map(|network| network.to_string());
        assert_eq!(written("10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(written(" 10.1.2.3/8 ").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(written("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
        assert_eq!(written("2001:db8::1/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(written("::ffff:10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(written("::ffff:10.1.2.3/104").as_deref(), Some("10.0.0.0/8"));
        for wrong in ["", "10.1.2", "10.1.2.3/33", "example.com", "10.0.0.0/8 or so", "010.1.2.3"] {
            assert_eq!(written(wrong), None, "{wrong}");
        }
    }
}
