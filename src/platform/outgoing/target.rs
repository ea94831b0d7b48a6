//! What a URL points to.

use http::{HeaderValue, uri::PathAndQuery};
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Position, Url};

use super::Refused;

/// A URL that may be called, as far as its text tells.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    pub(super) host: Host,
    pub(super) port: u16,
    /// Whom the certificate must be for; `None` without TLS.
    pub(super) server_name: Option<ServerName<'static>>,
    /// The `Host` header.
    pub(super) authority: HeaderValue,
    pub(super) path: PathAndQuery,
}

impl Target {
    /// Parses as browsers do (the WHATWG's URL standard), so that every way to write a number as a host becomes an
    /// address here, and nobody later reads the host otherwise.
    pub(super) fn parse(text: &str, allow_http: bool) -> Result<Self, Refused> {
        let url = Url::parse(text).map_err(|_| Refused::Url)?;
        let is_tls = match url.scheme() {
            "https" => true,
            "http" if allow_http => false,
            "http" => return Err(Refused::Http),
            _ => return Err(Refused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = url.host().ok_or(Refused::Url)?.to_owned();
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(Refused::Port)?;
        // A dot at the end makes a name absolute for the resolver. Certificates and servers know it without.
        let name = match &host {
            Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_owned(),
            address => address.to_string(),
        };
        let server_name = match &host {
            _ if !is_tls => None,
            Host::Domain(_) => Some(ServerName::try_from(name.clone()).map_err(|_| Refused::Url)?),
            Host::Ipv4(address) => Some(ServerName::from(std::net::IpAddr::V4(*address))),
            Host::Ipv6(address) => Some(ServerName::from(std::net::IpAddr::V6(*address))),
        };
        let authority = url.port().map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
        Ok(Self {
            port,
            server_name,
            authority: HeaderValue::try_from(authority).map_err(|_| Refused::Url)?,
            path: url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| Refused::Url)?,
            host,
            url,
        })
    }

    /// The URL in its one spelling.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}
