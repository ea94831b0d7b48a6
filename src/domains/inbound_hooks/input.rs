use async_graphql::{InputObject, MaybeUndefined};
use serde_json::Value;

use super::mapping;
use crate::{
    base::{
        enums::{InboundAction, InboundProvider},
        error::{ProblemCode, Problems, Result},
        id::{ClientMade, InboundHookId},
    },
    data::entity::inbound_hook,
    domains::{accounts::input::required, api_keys::input::check_grace},
    graphql::scalars::Json,
};

const MAX_NAME: usize = 100;
/// Bytes of a mapping at most.
const MAX_MAPPING: usize = 10_000;

/// A new inbound hook. GITHUB and GITLAB without an action have a preset; everything else takes an action and a
/// mapping.
#[derive(InputObject, Clone)]
pub struct InboundHookCreateInput {
    /// Client-made id, `hok_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result, without the secret.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<InboundHookId>,
    /// What it is called, 1 to 100 characters.
    pub name: String,
    /// Who sends, and how it proves that.
    #[graphql(default_with = "InboundProvider::Generic")]
    pub provider: InboundProvider,
    /// What a callback does; the caller must be allowed to do it. Left out: what the provider's preset says.
    pub action: Option<InboundAction>,
    /// For each field of the action a JSON pointer into the sender's body, a default, or both. 10,000 bytes at most;
    /// none with a preset.
    ///
    /// For example `{"title": {"pointer": "/issue/title", "default": "Untitled"}}`.
    pub mapping: Option<Json>,
}

impl InboundHookCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "name"], &self.name, 1, MAX_NAME);
        check_deed(&mut problems, &["input"], self.provider, self.action, self.mapping());
        problems.finish()
    }

    /// Null says as little as none.
    pub fn mapping(&self) -> Option<&Value> {
        self.mapping.as_ref().map(|mapping| &mapping.0).filter(|mapping| !mapping.is_null())
    }
}

/// Changes to an inbound hook. What is left out stays as it is.
#[derive(InputObject, Clone)]
pub struct InboundHookPatch {
    /// What it is called, 1 to 100 characters. Can't be cleared.
    pub name: MaybeUndefined<String>,
    /// What a callback does; null: what the provider's preset says.
    pub action: MaybeUndefined<InboundAction>,
    /// For each field of the action a JSON pointer, a default, or both, 10,000 bytes at most; null with a preset.
    pub mapping: MaybeUndefined<Json>,
    /// Whether callbacks are taken; those to a hook that is not enabled are refused. Can't be cleared.
    pub is_enabled: MaybeUndefined<bool>,
}

impl InboundHookPatch {
    pub fn validate(&self) -> Result<()> {
        let Self { name, action: _, mapping: _, is_enabled } = self;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "name"], name);
        if let MaybeUndefined::Value(name) = name {
            problems.length(&["input", "patch", "name"], name, 1, MAX_NAME);
        }
        required(&mut problems, &["input", "patch", "isEnabled"], is_enabled);
        problems.finish()
    }

    /// Writes what the patch says into the row; what the hook then does must make sense.
    pub fn apply(&self, row: &mut inbound_hook::Model) -> Result<()> {
        let Self { name, action, mapping, is_enabled } = self.clone();
        if let MaybeUndefined::Value(name) = name {
            row.name = name.trim().to_owned();
        }
        action.update_to(&mut row.action);
        mapping.map_value(|mapping| mapping.0).update_to(&mut row.mapping);
        row.mapping = row.mapping.take().filter(|mapping| !mapping.is_null());
        if let MaybeUndefined::Value(is_enabled) = is_enabled {
            row.is_enabled = is_enabled;
        }
        let mut problems = Problems::default();
        check_deed(&mut problems, &["input", "patch"], row.provider, row.action, row.mapping.as_ref());
        problems.finish()
    }
}

/// Which inbound hook to change, and how.
#[derive(InputObject, Clone)]
pub struct InboundHookUpdateInput {
    /// The inbound hook.
    pub id: InboundHookId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: InboundHookPatch,
}

/// Which inbound hook gets a new secret.
#[derive(InputObject, Clone)]
pub struct InboundHookRotateSecretInput {
    /// The inbound hook; the caller must be allowed to do what it does.
    pub id: InboundHookId,
    /// Hours that the old secret still works, 720 at most; 0 ends it at once.
    #[graphql(default = 24)]
    pub grace_hours: i32,
}

impl InboundHookRotateSecretInput {
    pub fn validate(&self) -> Result<()> {
        check_grace(self.grace_hours)
    }
}

/// Which inbound hook to delete, with its receipts. Deleting it again is harmless.
#[derive(InputObject, Clone)]
pub struct InboundHookDeleteInput {
    /// The inbound hook.
    pub id: InboundHookId,
}

/// What a hook does: a preset, or an action with its mapping.
fn check_deed(
    problems: &mut Problems,
    base: &[&str],
    provider: InboundProvider,
    action: Option<InboundAction>,
    given: Option<&Value>,
) {
    let path = [base, &["mapping"]].concat();
    match action {
        None if provider == InboundProvider::Generic => {
            let message = "GENERIC has no preset; say which action.";
            problems.push(ProblemCode::Required, &[base, &["action"]].concat(), message);
        }
        None if given.is_some() => {
            let message = "A preset takes no mapping; say which action it is for.";
            problems.push(ProblemCode::Invalid, &path, message);
        }
        None => {}
        Some(_) if given.is_some_and(|given| given.to_string().len() > MAX_MAPPING) => {
            problems.push(ProblemCode::TooLong, &path, format!("At most {MAX_MAPPING} bytes of JSON."));
        }
        Some(action) => mapping::check(problems, &path, action, given),
    }
}
