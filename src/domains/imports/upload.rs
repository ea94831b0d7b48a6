//! The file of an import as it comes: in parts, each a row, so that a large file takes no more memory than a small one.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sea_orm::{ColumnTrait as _, ExprTrait as _, sea_query::Expr};
use uuid::Uuid;

use super::run;
use crate::{
    base::{
        enums::ImportStatus,
        error::Result,
        id::{ImportId, OrganizationId},
        policy::Permission,
        secret::ServerSecret,
    },
    data::{
        actor::Origin,
        db::{Db, OrgScope, retrying},
        entity::{ActorRef, import, import_part},
    },
};

/// Bytes of a file at most.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a part.
pub const PART: usize = 256 * 1024;
/// What the addresses are signed for.
const PURPOSE: &str = "import-upload";

/// What names an import in the address of its file: its ids, and a tag that this server alone can make.
pub fn token(secret: &ServerSecret, row: &import::Model) -> String {
    let mut token = [row.organization_id.uuid().into_bytes(), row.id.uuid().into_bytes()].concat();
    token.extend(secret.tag(PURPOSE, &token));
    BASE64_URL_SAFE_NO_PAD.encode(token)
}

/// The reverse of [`token`]; `None` for any other text.
fn read_token(secret: &ServerSecret, token: &str) -> Option<(OrganizationId, ImportId)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (ids, tag) = bytes.split_at_checked(32)?;
    let (organization, import) = ids.split_at(16);
    let ids = (Uuid::from_slice(organization).ok()?, Uuid::from_slice(import).ok()?);
    secret.is_tag(PURPOSE, &bytes[..32], tag).then(|| (OrganizationId::from_uuid(ids.0), ImportId::from_uuid(ids.1)))
}

/// Why no file is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Nothing has this address.
    Unknown,
    /// The file is there, or it is too late.
    Over,
    /// Whoever asked for the import may not write here any more.
    Forbidden,
    /// Another request sends the file, too, and began later.
    Overtaken,
    Empty,
}

/// A file that is coming.
#[derive(Debug)]
pub struct Upload {
    scope: OrgScope,
    id: ImportId,
    attempt: Uuid,
    parts: i32,
    size: usize,
}

impl Upload {
    /// The import that an address names, with what whoever asked for it may do now. Forgets what came of earlier tries.
    pub async fn begin(
        db: &Db,
        secret: &ServerSecret,
        token: &str,
        origin: &Origin,
    ) -> Result<std::result::Result<Self, NotTaken>> {
        let Some((organization_id, id)) = read_token(secret, token) else { return Ok(Err(NotTaken::Unknown)) };
        let Some(row) = db.import(organization_id, id).await? else { return Ok(Err(NotTaken::Unknown)) };
        if row.status != ImportStatus::Waiting || row.upload_until <= db.clock().now() {
            return Ok(Err(NotTaken::Over));
        }
        let asker = ActorRef { kind: row.created_by_kind, id: row.created_by_id };
        let scope = db.scope_of(organization_id, asker, origin.clone()).await?;
        let Some(scope) = scope.filter(|scope| scope.allows(Permission::ItemWrite)) else {
            return Ok(Err(NotTaken::Forbidden));
        };
        let upload = Self { attempt: scope.clock().new_uuid(), scope, id, parts: 0, size: 0 };
        let forget = async || {
            let tx = upload.scope.write(Permission::ItemWrite).await?;
            tx.delete_where::<import_part::Entity>(import_part::Column::ImportId.eq(id)).await?;
            tx.commit_unrecorded((), "parts of a file are no change").await
        };
        retrying(forget).await?;
        Ok(Ok(upload))
    }

    pub fn scope(&self) -> &OrgScope {
        &self.scope
    }

    /// Keeps the next part.
    pub async fn keep(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.size += bytes.len();
        let row = import_part::Model {
            organization_id: self.scope.organization_id(),
            import_id: self.id,
            attempt: self.attempt,
            number: self.parts,
            bytes,
        };
        self.parts += 1;
        let keep = async || {
            let tx = self.scope.write(Permission::ItemWrite).await?;
            tx.insert(row.clone()).await?;
            tx.commit_unrecorded((), "parts of a file are no change").await
        };
        retrying(keep).await.map(drop)
    }

    /// All parts are there: the import runs.
    pub async fn finish(self) -> Result<std::result::Result<ImportId, NotTaken>> {
        if self.size == 0 {
            return Ok(Err(NotTaken::Empty));
        }
        retrying(|| self.start()).await
    }

    async fn start(&self) -> Result<std::result::Result<ImportId, NotTaken>> {
        use import::Column;
        let mut tx = self.scope.write(Permission::ItemWrite).await?;
        let Some(row) = tx.find::<import::Entity>().filter(Column::Id.eq(self.id)).for_update().one().await? else {
            return Ok(Err(NotTaken::Over));
        };
        if row.status != ImportStatus::Waiting {
            return Ok(Err(NotTaken::Over));
        }
        let (of_import, own) =
            (import_part::Column::ImportId.eq(self.id), import_part::Column::Attempt.eq(self.attempt));
        let there = tx.find::<import_part::Entity>().filter(of_import.clone().and(own.clone())).count().await?;
        if there != u64::try_from(self.parts).unwrap_or_default() {
            return Ok(Err(NotTaken::Overtaken));
        }
        tx.delete_where::<import_part::Entity>(of_import.and(own.not())).await?;
        let running = vec![
            (Column::Status, Expr::value(ImportStatus::Running)),
            (Column::Size, Expr::value(i64::try_from(self.size).unwrap_or(i64::MAX))),
        ];
        tx.update_where::<import::Entity>(Column::Id.eq(self.id), running).await?;
        tx.enqueue(run::RUN, self.id.uuid(), run::Payload { import_id: self.id }).await?;
        tx.commit_unrecorded((), "what the import makes is recorded").await?;
        Ok(Ok(self.id))
    }
}

/// The whole file of an import; `None` when parts are missing.
pub(super) async fn file(scope: &OrgScope, row: &import::Model) -> Result<Option<Vec<u8>>> {
    use import_part::Column;
    let size = usize::try_from(row.size.unwrap_or_default()).unwrap_or_default();
    let parts = scope.find::<import_part::Entity>().filter(Column::ImportId.eq(row.id)).order_by_asc(Column::Number);
    let mut bytes = Vec::with_capacity(size);
    for part in parts.all().await? {
        bytes.extend(part.bytes);
    }
    Ok((bytes.len() == size).then_some(bytes))
}
