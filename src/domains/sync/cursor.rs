//! Positions of a walk through a snapshot, as clients hold them between its pages.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::types::{SyncType, SyncTypes};
use crate::data::ledger::LedgerCursor;

/// A place in an unfinished snapshot. Opaque outside: the ledger cursor, the types, the type walked and the last id, in
/// base64url. Its length tells it from a ledger cursor's 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotCursor {
    /// Where the ledger stood before the first page was read; changes after it are told once the walk is over.
    pub begun: LedgerCursor,
    /// What the walk goes through.
    pub types: SyncTypes,
    /// Where it is.
    pub at: (SyncType, Uuid),
}

const LENGTH: usize = LedgerCursor::LENGTH + 2 + 16;

impl SnapshotCursor {
    pub fn encode(self) -> String {
        let (ty, last) = self.at;
        let mut bytes = [0; LENGTH];
        let (begun, rest) = bytes.split_at_mut(LedgerCursor::LENGTH);
        begun.copy_from_slice(&self.begun.to_bytes());
        rest[0] = self.types.bits();
        rest[1] = ty as u8;
        rest[2..].copy_from_slice(last.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for what this server never gave out.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (begun, rest) = bytes.split_at(LedgerCursor::LENGTH);
        let types = SyncTypes::from_bits(rest[0]);
        let ty = types.iter().find(|ty| *ty as u8 == rest[1])?;
        let begun = LedgerCursor::from_bytes(begun.try_into().ok()?)?;
        Some(Self { begun, types, at: (ty, Uuid::from_slice(&rest[2..]).ok()?) })
    }
}
