//! What a field's arguments cost.

use super::{CONTAINS_PRICE, STARTS_WITH_PRICE, TEXT_PRICE};

/// What a field's arguments make the database do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    /// Comparisons of a filter, and the objects that it is made of.
    pub conditions: u64,
    /// `contains`: reads the text of every row of the organization.
    pub contains: u64,
    /// Full texts: each may find every row.
    pub texts: u64,
    /// `startsWith`: reads an index at best, every row at worst.
    pub starts_with: u64,
    /// Values in a filter's lists.
    pub values: u64,
    /// Keys of an order after the first.
    pub orders: u64,
    /// Objects in the lists of a mutation's input: each is written.
    pub objects: u64,
    /// Objects that a bulk mutation names by their ids, or by a filter and their number: each is written.
    pub named: u64,
    /// Other entries of a mutation's lists: links, mostly.
    pub entries: u64,
}

impl Weight {
    /// | what | points |
    /// |---|---|
    /// | `contains` | 5 |
    /// | a full text | 5 |
    /// | `startsWith` | 2 |
    /// | 10 other conditions | 1 |
    /// | 100 values of a filter | 1 |
    /// | a key of an order after the first | 1 |
    /// | an object in a list of a mutation's input, or named by a bulk mutation | 1 |
    /// | 50 other entries of such lists | 1 |
    pub const fn points(self) -> u64 {
        self.contains * CONTAINS_PRICE
            + self.texts * TEXT_PRICE
            + self.starts_with * STARTS_WITH_PRICE
            + self.conditions / 10
            + self.values / 100
            + self.orders
            + self.objects
            + self.named
            + self.entries / 50
    }
}
