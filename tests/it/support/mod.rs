//! What tests stand on: a server of their own, a client, and people to act as.

pub mod app;
pub mod client;
pub mod mail;
pub mod postgres;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod released;
pub mod schema;
pub mod socket;
pub mod world;

/// A port of loopback that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// One thread a test: a dataloader's timer then can't fire while a list is still being walked, so that statement counts
/// are the same on a busy machine. Runs a test on both databases: `databases! { async fn name(app: TestApp) { … } }`.
#[macro_export]
macro_rules! databases {
    ($($(#[$doc:meta])* async fn $name:ident($app:ident: TestApp) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "what the story needs differs")]
            use super::*;

            async fn story($app: $crate::support::app::TestApp) $body

            #[tokio::test]
            async fn sqlite() {
                $crate::support::app::TestApp::on_sqlite(story).await;
            }

            #[tokio::test]
            async fn postgres() {
                $crate::support::app::TestApp::on_postgres(story).await;
            }
        }
    )*};
}
