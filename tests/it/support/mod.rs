//! What tests stand on: a server of their own, a client, and people to act as.

pub mod app;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod mail;
pub mod postgres;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod released;
pub mod schema;
pub mod smtp;
pub mod socket;
pub mod world;

/// A port of loopback that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
