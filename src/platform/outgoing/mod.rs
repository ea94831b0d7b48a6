//! Requests that the server makes on somebody's behalf. Every one goes through [`Outgoing`]; a second way out would be
//! a way inside for whoever chooses the URL (OWASP: server-side request forgery).
//!
//! The name is resolved once for each request, every address is checked, and one of those very addresses is connected
//! to: a DNS answer that changes in between is never asked for. No redirect is followed, no proxy of the environment
//! used, no connection or TLS session kept.

mod addresses;
mod exchange;
mod resolver;
mod slots;
mod target;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use http_body_util::Full;
use ipnet::IpNet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, client::Resumption, crypto::ring},
};
use url::Host;

use self::slots::Slots;
pub use self::{resolver::Resolver, slots::Slot, target::Target};
use crate::base::{config::WebhooksConfig, id::OrganizationId};

/// Bytes of an answer's body that are handed on.
pub const KEPT_BYTES: usize = 4 * 1024;
/// How long a slot among the look-ups is waited for.
const PLACE_WAIT: Duration = Duration::from_secs(2);

/// Why a URL is not called. The messages tell nothing of the network that the server is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this is not a URL that can be called")]
    Url,
    #[error("the URL must begin with https://")]
    Scheme,
    #[error("the URL must begin with https://; this server does not call http://")]
    Http,
    #[error("the URL must not hold a user name or a password")]
    Credentials,
    #[error("port 0 can't be called")]
    Port,
    #[error("the URL's host can't be resolved")]
    Unresolvable,
    /// Says nothing of the URL: this server's own slots are taken.
    #[error("this server looks up too many names at the moment; try again shortly")]
    Busy,
    #[error("the URL's host has an address that is not public")]
    Denied,
}

/// Why there is no answer. Texts of systems and libraries about a public host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no TLS: {0}")]
    Tls(String),
    #[error("no usable answer: {0}")]
    Answer(String),
    #[error("no answer in time")]
    TimedOut,
}

/// A POST. `Host`, `Content-Length`, `Transfer-Encoding` and `Connection` are set here, whatever `headers` holds.
#[derive(Clone, Debug)]
pub struct Post<'a> {
    /// On whose behalf.
    pub organization_id: OrganizationId,
    pub url: &'a str,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    /// The header as it came: seconds or a date (RFC 9110, section 10.2.3).
    pub retry_after: Option<String>,
    /// The first [`Limits::kept_bytes`] of the body, or less where it broke off.
    pub body: Vec<u8>,
    pub duration: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For resolving, and again for connecting with TLS.
    pub connect: Duration,
    /// For everything, however slowly the answer comes.
    pub total: Duration,
    /// Bytes of an answer that are read, its head included; then the connection is dropped.
    pub answer_bytes: usize,
    /// Bytes of a body that are handed on.
    pub kept_bytes: usize,
    /// Names that are looked up at a time.
    pub lookups: usize,
    /// Of these for one organization.
    pub organization_lookups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(15),
            answer_bytes: 64 * 1024,
            kept_bytes: KEPT_BYTES,
            lookups: 256,
            organization_lookups: 16,
        }
    }
}

/// What outgoing requests depend on; tests bring their own.
pub struct Dependencies {
    pub resolver: Resolver,
    pub limits: Limits,
    /// Who may sign certificates.
    pub roots: RootCertStore,
}

impl Default for Dependencies {
    /// The system's name servers, and the authorities that Mozilla trusts.
    fn default() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self { resolver: Resolver::system(), limits: Limits::default(), roots }
    }
}

/// The way out. Clones share it.
#[derive(Clone)]
pub struct Outgoing(Arc<Inner>);

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outgoing(…)")
    }
}

struct Inner {
    allowed: Vec<IpNet>,
    allow_http: bool,
    resolver: Resolver,
    limits: Limits,
    lookups: Slots,
    requests: Slots,
    tls: TlsConnector,
}

impl Outgoing {
    pub fn new(config: &WebhooksConfig) -> Result<Self, rustls::Error> {
        Self::within(config, Dependencies::default())
    }

    /// [`Outgoing::new`] in dependencies of the caller's; for tests. Fails when the TLS library can't be set up.
    pub fn within(config: &WebhooksConfig, dependencies: Dependencies) -> Result<Self, rustls::Error> {
        // The provider is named: one for the whole process would be whoever's library came first.
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(dependencies.roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A name may belong to somebody else by the next request.
        tls.resumption = Resumption::disabled();
        Ok(Self(Arc::new(Inner {
            allowed: config.allowed_cidrs.clone(),
            allow_http: config.allow_http,
            resolver: dependencies.resolver,
            lookups: Slots::new(dependencies.limits.lookups, dependencies.limits.organization_lookups),
            requests: Slots::new(config.concurrency, config.organization_concurrency),
            limits: dependencies.limits,
            tls: TlsConnector::from(Arc::new(tls)),
        })))
    }

    /// Whether `url` may be called as things are now. [`Outgoing::send`] looks again.
    pub async fn check(&self, organization_id: OrganizationId, url: &str) -> Result<Target, Refused> {
        let target = Target::parse(url, self.0.allow_http)?;
        self.resolve(organization_id, &target).await?;
        Ok(target)
    }

    /// Waits for a slot among the requests of this process and of the organization; whoever sends keeps it meanwhile.
    pub async fn place(&self, organization_id: OrganizationId) -> Option<Slot> {
        self.0.requests.place(organization_id).await
    }

    /// Calls a URL. Any status is an answer, redirects too.
    pub async fn send(&self, post: Post<'_>) -> Result<Answer, SendError> {
        let limits = &self.0.limits;
        let began = Instant::now();
        let until = began + limits.total;
        let target = Target::parse(post.url, self.0.allow_http)?;
        let resolved = timeout_at(until, self.resolve(post.organization_id, &target)).await;
        let addresses = resolved.map_err(|_| SendError::TimedOut)??;
        let connected_by = until.min(Instant::now() + limits.connect);
        let stream = exchange::connect(&addresses, connected_by).await?;
        let request = request(&target, post);
        let received = match target.server_name {
            None => exchange::exchange(stream, request, until, limits.answer_bytes, limits.kept_bytes).await?,
            Some(name) => {
                let handshake = timeout_at(connected_by, self.0.tls.connect(name, stream)).await;
                let stream = handshake
                    .map_err(|_| SendError::Tls("nobody answers".to_owned()))?
                    .map_err(|error| SendError::Tls(error.to_string()))?;
                exchange::exchange(stream, request, until, limits.answer_bytes, limits.kept_bytes).await?
            }
        };
        let exchange::Received { status, retry_after, body } = received;
        Ok(Answer { status, retry_after, body, duration: began.elapsed() })
    }

    /// The target's addresses, all of them allowed: with one that is not among them, which one is connected to would be
    /// chance.
    async fn resolve(&self, organization_id: OrganizationId, target: &Target) -> Result<Vec<SocketAddr>, Refused> {
        let addresses = match &target.host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            Host::Domain(name) => {
                let place = timeout(PLACE_WAIT, self.0.lookups.place(organization_id)).await;
                let _place = place.ok().flatten().ok_or(Refused::Busy)?;
                timeout(self.0.limits.connect, self.0.resolver.look_up(name))
                    .await
                    .ok()
                    .and_then(Result::ok)
                    .filter(|addresses| !addresses.is_empty())
                    .ok_or(Refused::Unresolvable)?
            }
        };
        if !addresses.iter().all(|address| addresses::is_allowed(&self.0.allowed, *address)) {
            return Err(Refused::Denied);
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect())
    }
}

fn request(target: &Target, post: Post<'_>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(post.body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path.clone().into();
    *request.headers_mut() = post.headers;
    let headers = request.headers_mut();
    // hyper counts the body itself; a length that lies would hide a second request in the body.
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    headers.insert(HOST, target.authority.clone());
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}
