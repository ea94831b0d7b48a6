use async_graphql::{Context, Description, Object, SimpleObject};

use super::{
    report::{ImportFault, Report},
    upload,
};
use crate::{
    base::{
        enums::ImportStatus,
        error::{Error, Result},
        id::ImportId,
        policy::{Permission, requires},
    },
    data::entity::{ActorRef, import},
    domains::accounts::types::Actor,
    graphql::{
        context::ContextExt,
        node::row_node,
        payload::payload,
        scalars::{BigInt, DateTime, Url},
    },
};

/// A file of items that somebody sends, and what became of it. It does no more than whoever asked for it may do at the time,
/// and is kept for 30 days; the items know nothing of it.
#[derive(Clone, Debug, Description)]
pub struct Import(pub import::Model);

row_node!(Import: import, Self);

#[Object(use_type_description, directive = requires::apply(Permission::ItemWrite))]
impl Import {
    /// Global id, `imp_…`.
    pub async fn id(&self) -> ImportId {
        self.0.id
    }

    /// The file's name, as it was said.
    fn file_name(&self) -> &str {
        &self.0.file_name
    }

    /// Whether it is only checked.
    fn check_only(&self) -> bool {
        self.0.check_only
    }

    /// Whether what is good is imported although something is bad.
    fn skip_bad(&self) -> bool {
        self.0.skip_bad
    }

    /// How far it has got.
    fn status(&self) -> ImportStatus {
        self.0.status
    }

    /// Where the file goes. Null once it is there or would be too late, and to all but whoever asked for the import.
    fn upload(&self, ctx: &Context<'_>) -> Result<Option<UploadTarget>> {
        let (row, scope) = (&self.0, ctx.scope()?);
        let asker = ActorRef { kind: row.created_by_kind, id: row.created_by_id };
        scope.note_time();
        if row.status != ImportStatus::Waiting || scope.actor() != asker || row.upload_until <= scope.clock().now() {
            return Ok(None);
        }
        let state = ctx.state();
        let token = upload::token(&state.secret, row);
        Ok(Some(UploadTarget {
            method: "PUT",
            url: format!("{}/uploads/{token}", state.config.server.base_url()).into(),
            headers: vec![Header { name: "content-type", value: "application/octet-stream" }],
            expires_at: row.upload_until.into(),
        }))
    }

    /// Bytes of the file, once it is there.
    fn size(&self) -> Option<BigInt> {
        self.0.size.map(BigInt)
    }

    /// What was found in the file, once it has been read.
    fn report(&self) -> Result<Option<Report>> {
        let kept = self.0.report.as_ref();
        kept.map(|kept| serde_json::from_value(kept.clone()).map_err(Error::internal)).transpose()
    }

    /// Why it failed; null otherwise.
    fn failure(&self) -> Option<ImportFault> {
        let (code, message) = (self.0.failure_code.clone()?, self.0.failure_message.clone()?);
        Some(ImportFault { code, message })
    }

    /// Items that have been written.
    fn item_count(&self) -> i32 {
        self.0.item_count
    }

    /// Comments that have been written.
    fn comment_count(&self) -> i32 {
        self.0.comment_count
    }

    /// Tags that have been made.
    fn tag_count(&self) -> i32 {
        self.0.tag_count
    }

    /// Teams that have been made.
    fn team_count(&self) -> i32 {
        self.0.team_count
    }

    /// Who asked for it; what it makes is made by them.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.created_by_kind, id: self.0.created_by_id }).await
    }

    /// When it was asked for.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it ended.
    fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(Into::into)
    }
}

/// Where a file is sent, as one request with the bytes as its body. Whoever knows the address may send it: it is a secret.
#[derive(SimpleObject)]
pub struct UploadTarget {
    /// The request's method.
    method: &'static str,
    /// The address, which is good for this file alone.
    url: Url,
    /// Headers of the request; no others are needed.
    headers: Vec<Header>,
    /// Until when.
    expires_at: DateTime,
}

/// A header of a request.
#[derive(SimpleObject)]
pub struct Header {
    /// What it is called, as `content-type`.
    name: &'static str,
    /// What it says.
    value: &'static str,
}

payload! {
    /// The import, or why there is none.
    ImportPayload { import: Import }
}
