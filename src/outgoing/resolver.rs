//! Names to addresses.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs as _},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// Names that the system looks up at a time. It does so on threads that can't be interrupted and are shared with all
/// other blocking work.
const LOOKUPS: usize = 32;

/// Looks names up.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>);

impl Resolver {
    pub fn new(
        look_up: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(look_up))
    }

    /// The system's: its hosts file, its name servers, its order of addresses.
    pub fn system() -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        Self::new(move |host| {
            let lookups = lookups.clone();
            Box::pin(async move {
                let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
                let look_up = move || {
                    // Kept by the thread: it goes on when nobody waits for it any more.
                    let _place = place;
                    Ok((host.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()).collect())
                };
                tokio::task::spawn_blocking(look_up).await.map_err(io::Error::other)?
            })
        })
    }

    pub(super) async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(host.to_owned()).await
    }
}
