//! Positions in an organization's ledger, as clients hold them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::base::id::OrganizationId;

/// Everything up to and including `sequence`. Opaque outside: 16 bytes of organization, 3 of epoch, 5 of sequence, base64url.
///
/// A restored database has the sequences of its past once more, for other events. Its epoch is another one, so that cursors
/// from before the restore are refused, also once the ledger has got past them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerCursor {
    pub organization_id: OrganizationId,
    /// Of the database that gave it out; up to [`LedgerCursor::MAX_EPOCH`].
    pub epoch: u32,
    /// Up to 2^40 - 1.
    pub sequence: i64,
}

/// Bits of a sequence.
const SEQUENCE_BITS: u32 = 40;

impl LedgerCursor {
    /// Bytes of one.
    pub const LENGTH: usize = 24;
    /// The highest epoch.
    pub const MAX_EPOCH: u32 = (1 << 23) - 1;

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
        let place = (i64::from(self.epoch) << SEQUENCE_BITS) | self.sequence;
        bytes[16..].copy_from_slice(&place.to_be_bytes());
        bytes
    }

    /// `None` for what this server never gave out.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let (organization, place) = bytes.split_at(16);
        let place = i64::from_be_bytes(place.try_into().ok()?);
        let organization_id = OrganizationId::from_uuid(Uuid::from_slice(organization).ok()?);
        // The highest bit is none of the epoch's.
        let epoch = u32::try_from(place >> SEQUENCE_BITS).ok()?;
        Some(Self { organization_id, epoch, sequence: place & ((1 << SEQUENCE_BITS) - 1) })
    }
}
