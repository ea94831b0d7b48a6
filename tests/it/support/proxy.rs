//! Stands between a server and PostgreSQL, and breaks what it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

/// What happens on the way. `Once…` ends with the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Clear,
    /// A COMMIT does not arrive, and the connection is gone.
    OnceLoseCommit,
    /// A COMMIT arrives and is done; its answer does not come, and the connection is gone.
    OnceLoseAnswer,
    /// A BEGIN arrives half a second late.
    SlowBegin,
}

#[derive(Clone)]
pub struct Proxy {
    port: u16,
    way: Arc<Mutex<Way>>,
    broken: Arc<AtomicUsize>,
}

impl Proxy {
    /// A way to the server of this URL.
    pub async fn to(url: &url::Url) -> Self {
        let target = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let proxy = Self { port, way: Arc::new(Mutex::new(Way::Clear)), broken: Arc::default() };
        let of_connections = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((target.0.as_str(), target.1)).await.expect("the server is there");
                tokio::spawn(of_connections.clone().carry(client, server));
            }
        });
        proxy
    }

    /// The URL by way of this proxy.
    pub fn url(&self, url: &url::Url) -> String {
        let mut url = url.clone();
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.port)).expect("a port");
        url.to_string()
    }

    pub async fn set(&self, way: Way) {
        *self.way.lock().await = way;
    }

    /// How often it has broken something.
    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::SeqCst)
    }

    async fn carry(self, mut client: TcpStream, mut server: TcpStream) {
        let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        let mut loses_answer = false;
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Ok(read @ 1..) = read else { return };
                    let says = |word: &[u8]| up[..read].windows(word.len()).any(|part| part == word);
                    let mut way = self.way.lock().await;
                    match *way {
                        Way::OnceLoseCommit if says(b"COMMIT\0") => {
                            *way = Way::Clear;
                            self.broken.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                        Way::OnceLoseAnswer if says(b"COMMIT\0") => {
                            *way = Way::Clear;
                            loses_answer = true;
                        }
                        Way::SlowBegin if says(b"BEGIN\0") => {
                            drop(way);
                            self.broken.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                        }
                        _ => {}
                    }
                    if server.write_all(&up[..read]).await.is_err() { return };
                }
                read = server.read(&mut down) => {
                    let Ok(read @ 1..) = read else { return };
                    if loses_answer {
                        self.broken.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    if client.write_all(&down[..read]).await.is_err() { return };
                }
            }
        }
    }
}
