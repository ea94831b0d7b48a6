//! Names to addresses.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};

/// For one question to one name server.
const ANSWER: Duration = Duration::from_secs(2);
/// What is cached is asked for again after so long, whatever its owner says: who corrects an entry doesn't wait for days.
const LONGEST_CACHED: Duration = Duration::from_secs(5 * 60);
/// The same of names that are not there.
const LONGEST_ABSENT: Duration = Duration::from_secs(30);

/// Looks names up.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>);

impl Resolver {
    pub fn new(
        look_up: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(look_up))
    }

    /// With the system's settings as they are now: its hosts file and its name servers (`resolv.conf`). Not the system's
    /// own look-up, which takes a thread each that can't be interrupted: names whose servers are silent would hold all of
    /// them. A look-up that nobody waits for any more ends.
    pub fn system() -> Self {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's name servers are not known; asking the one on this machine");
            let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        });
        let options = builder.options_mut();
        (options.timeout, options.attempts) = (ANSWER, 2);
        // All of them: with one that is not public the name is refused.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        (options.positive_max_ttl, options.negative_max_ttl) = (Some(LONGEST_CACHED), Some(LONGEST_ABSENT));
        let resolver = builder.build();
        if let Err(error) = &resolver {
            tracing::error!(%error, "names of hosts can't be looked up: no webhook will be sent to one");
        }
        Self::new(move |host| {
            let resolver = resolver.as_ref().ok().cloned();
            Box::pin(async move {
                let resolver = resolver.ok_or_else(|| io::Error::other("no resolver"))?;
                let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
                Ok(alternating(found.iter()))
            })
        })
    }

    pub(super) async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(host.to_owned()).await
    }
}

/// One of each family by turns: only the first few are tried, and a host may have no way to one of the families.
fn alternating(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (four, six): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv4);
    let pairs = (0..four.len().max(six.len())).flat_map(|index| [four.get(index), six.get(index)]);
    pairs.flatten().copied().collect()
}
