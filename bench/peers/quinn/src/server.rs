//! The server's half of each scenario.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::figures::{cpu, now, percentiles};
use crate::wire::{listen, Wire};
use crate::{Result, Task};

/// When the first message came, in ns, and what the process had used until then.
static FIRST: OnceLock<(u64, f64)> = OnceLock::new();

#[derive(Default)]
struct Counted {
    bytes: u64,
    messages: u64,
    last: u64,
}

pub async fn run(task: Task) -> Result<()> {
    let endpoint = listen(task.address)?;
    println!("READY");
    match task.scenario.as_str() {
        "bulk" | "rate" => count(&endpoint, 1).await?,
        "many" => count(&endpoint, task.n as usize).await?,
        "lat" => one_way_times(&endpoint).await?,
        "connect" => each(&endpoint, answer_age).await,
        _ => each(&endpoint, echo).await,
    }
    let _ = tokio::time::timeout(Duration::from_secs(2), endpoint.wait_idle()).await;
    Ok(())
}

async fn next(endpoint: &quinn::Endpoint) -> Result<Wire> {
    Wire::accept(endpoint.accept().await.ok_or("closed")?).await
}

/// Counts on each of so many connections until its END.
async fn count(endpoint: &quinn::Endpoint, connections: usize) -> Result<()> {
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let incoming = endpoint.accept().await.ok_or("closed")?;
        running.spawn(async move { count_one(&mut Wire::accept(incoming).await?).await });
    }
    let (mut sum, mut least) = (Counted::default(), u64::MAX);
    while let Some(one) = running.join_next().await {
        let one = one??;
        sum.bytes += one.bytes;
        sum.messages += one.messages;
        sum.last = sum.last.max(one.last);
        least = least.min(one.bytes);
    }
    let (first, used) = *FIRST.get().ok_or("nothing came")?;
    println!(
        "{{\"role\":\"server\",\"bytes\":{},\"msgs\":{},\"secs\":{:.4},\"cpu\":{:.3},\"least_share\":{:.3}}}",
        sum.bytes,
        sum.messages,
        (sum.last - first) as f64 / 1e9,
        cpu() - used,
        least as f64 * connections as f64 / sum.bytes as f64
    );
    Ok(())
}

async fn count_one(wire: &mut Wire) -> Result<Counted> {
    let mut counted = Counted::default();
    loop {
        let size = match wire.receive().await? {
            b"END" => break,
            b"hi" => continue,
            message => message.len() as u64,
        };
        counted.last = now();
        FIRST.get_or_init(|| (counted.last, cpu()));
        counted.bytes += size;
        counted.messages += 1;
    }
    wire.close();
    Ok(counted)
}

fn age(message: &[u8]) -> Result<u64> {
    Ok(now().saturating_sub(u64::from_be_bytes(message[..8].try_into()?)))
}

async fn one_way_times(endpoint: &quinn::Endpoint) -> Result<()> {
    let mut wire = next(endpoint).await?;
    let mut times = Vec::new();
    loop {
        match wire.receive().await? {
            b"END" => break,
            message => times.push(age(message)?),
        }
    }
    wire.close();
    println!("{{\"role\":\"server\",{}}}", percentiles(times));
    Ok(())
}

/// Serves every connection that comes, until the process is ended.
async fn each<F>(endpoint: &quinn::Endpoint, handler: fn(Wire) -> F)
where
    F: std::future::Future<Output = Result<()>> + Send + 'static,
{
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move { handler(Wire::accept(incoming).await?).await });
    }
}

async fn answer_age(mut wire: Wire) -> Result<()> {
    let age = age(wire.receive().await?)?;
    wire.send(&age.to_be_bytes()).await?;
    wire.closed().await;
    Ok(())
}

async fn echo(mut wire: Wire) -> Result<()> {
    loop {
        let message = wire.receive().await?.to_vec();
        wire.send(&message).await?;
    }
}
