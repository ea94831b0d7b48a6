//! `health`: asks the server on this machine whether it is ready, for where there is no shell and no curl.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::base::config::Config;

/// How long the whole question may take: less than what waits for its answer usually allows.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of the answer at most.
const MAX_ANSWER: usize = 64 << 10;

/// Ends well when the server says that it is ready, and prints what it says.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let address = SocketAddr::new(reachable(config.server.host), config.server.port);
    let answer = timeout(PATIENCE, ask(address)).await.context("no answer within 2 s").flatten();
    let (is_ready, text) = answer.with_context(|| format!("http://{address}/health/ready"))?;
    println!("{text}");
    ensure!(is_ready, "not ready");
    Ok(())
}

async fn ask(address: SocketAddr) -> anyhow::Result<(bool, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/health/ready").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let is_ready = answer.status().is_success();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok((is_ready, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// Where a server is asked that listens on this address: who listens on all is asked on the machine's own.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        own => own,
    }
}
