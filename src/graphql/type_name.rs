//! Types as the schema's registry writes them.

/// The name in a type: `[Item!]!` is `Item`.
pub fn bare(ty: &str) -> &str {
    ty.trim_matches(['[', ']', '!'])
}
