//! quinn, a QUIC of Rust, as a peer of the benchmark. bench/README.md has the scenarios and what is printed.
//!
//!     quinn-peer server|client HOST:PORT SCENARIO N
//!
//! A message is its length in four bytes and its content, on one stream of a connection. BENCH_CONGESTION=bbr takes
//! quinn's BBR in place of its CUBIC. Certificates aren't verified.

mod client;
mod figures;
mod server;
mod wire;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What one of the two programs was asked for.
pub struct Task {
    pub address: std::net::SocketAddr,
    pub scenario: String,
    pub n: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, role, address, scenario, n] = &arguments[..] else {
        return Err("usage: quinn-peer server|client HOST:PORT SCENARIO N".into());
    };
    let task = Task {
        address: address.parse()?,
        scenario: scenario.clone(),
        n: n.parse()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match role.as_str() {
            "server" => server::run(task).await,
            _ => client::run(task).await,
        }
    })
}
