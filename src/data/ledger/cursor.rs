//! Positions in an organization's ledger, as clients hold them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::base::id::OrganizationId;

/// Everything up to and including `sequence`. Opaque outside: 16 bytes of organization, 8 of sequence, base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerCursor {
    pub organization_id: OrganizationId,
    pub sequence: i64,
}

impl LedgerCursor {
    /// Bytes of one.
    pub const LENGTH: usize = 24;

    pub fn encode(self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.to_bytes())
    }

    /// `None` for what this server never gave out.
    pub fn decode(text: &str) -> Option<Self> {
        Self::from_bytes(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?)
    }

    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..16].copy_from_slice(self.organization_id.uuid().as_bytes());
        bytes[16..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    /// `None` for what this server never gave out.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let (organization, sequence) = bytes.split_at(16);
        let sequence = i64::from_be_bytes(sequence.try_into().ok()?);
        let organization_id = OrganizationId::from_uuid(Uuid::from_slice(organization).ok()?);
        (sequence >= 0).then_some(Self { organization_id, sequence })
    }
}
