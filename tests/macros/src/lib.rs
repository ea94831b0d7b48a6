//! Attributes of the integration tests.

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, parse_macro_input};

/// Runs a story on both databases, as `story::sqlite` and `story::postgres`:
///
/// ```text
/// #[databases]
/// async fn story(app: TestApp) { … }
/// ```
///
/// Each runs on one thread, so that the order of what happens at once, and with it a count of statements, is the same on a
/// busy machine.
#[proc_macro_attribute]
pub fn databases(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut story = parse_macro_input!(item as ItemFn);
    let (name, attributes) = (story.sig.ident.clone(), std::mem::take(&mut story.attrs));
    story.sig.ident = syn::Ident::new("story", name.span());
    quote! {
        #(#attributes)*
        mod #name {
            #[allow(unused_imports, reason = "what the story needs differs")]
            use super::*;

            #story

            #[tokio::test]
            async fn sqlite() {
                crate::support::app::TestApp::on_sqlite(story).await;
            }

            #[tokio::test]
            async fn postgres() {
                crate::support::app::TestApp::on_postgres(story).await;
            }
        }
    }
    .into()
}
