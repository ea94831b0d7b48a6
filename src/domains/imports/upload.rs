//! The file of an import as it comes: in parts, each a row, so that a large file takes no more memory than a small one.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sea_orm::{ColumnTrait as _, Condition, sea_query::Expr};
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
        db::{Db, OrgScope, WriteTx, retrying},
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
    /// Another request sends the file, too, and began later or has sent it; or the import was cancelled meanwhile.
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
        Ok(retrying(|| upload.forget_earlier()).await?.then_some(upload).ok_or(NotTaken::Over))
    }

    pub fn scope(&self) -> &OrgScope {
        &self.scope
    }

    /// From now on this try is the latest; false where the file is not waited for any more.
    async fn forget_earlier(&self) -> Result<bool> {
        let tx = self.scope.write(Permission::ItemWrite).await?;
        if self.locked(&tx, None).await?.is_none() {
            return Ok(false);
        }
        tx.delete_where::<import_part::Entity>(import_part::Column::ImportId.eq(self.id)).await?;
        let latest = vec![(import::Column::Attempt, Expr::value(Some(self.attempt)))];
        tx.update_where::<import::Entity>(import::Column::Id.eq(self.id), latest).await?;
        tx.commit_unrecorded((), "parts of a file are no change").await?;
        Ok(true)
    }

    /// The import, locked until the transaction ends, while it waits for its file: of the try named, if one is.
    async fn locked(&self, tx: &WriteTx, attempt: Option<Uuid>) -> Result<Option<import::Model>> {
        use import::Column;
        let waits = Condition::all()
            .add(Column::Id.eq(self.id))
            .add(Column::Status.eq(ImportStatus::Waiting))
            .add_option(attempt.map(|attempt| Column::Attempt.eq(attempt)));
        tx.find::<import::Entity>().filter(waits).for_update().one().await
    }

    /// Keeps the next part, so that an import never has more than one file's.
    pub async fn keep(&mut self, bytes: Vec<u8>) -> Result<std::result::Result<(), NotTaken>> {
        self.size += bytes.len();
        let row = import_part::Model {
            organization_id: self.scope.organization_id(),
            import_id: self.id,
            number: self.parts,
            bytes,
            created_at: self.scope.clock().now(),
        };
        self.parts += 1;
        let keep = async || {
            let tx = self.scope.write(Permission::ItemWrite).await?;
            if self.locked(&tx, Some(self.attempt)).await?.is_none() {
                return Ok(Err(NotTaken::Overtaken));
            }
            tx.insert(row.clone()).await?;
            tx.commit_unrecorded((), "parts of a file are no change").await?;
            Ok(Ok(()))
        };
        retrying(keep).await
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
        if self.locked(&tx, Some(self.attempt)).await?.is_none() {
            return Ok(Err(NotTaken::Overtaken));
        }
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
