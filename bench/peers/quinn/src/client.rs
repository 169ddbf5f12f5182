//! The client's half of each scenario.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, Instant};

use crate::figures::{at, cpu, now, percentiles};
use crate::wire::{client, Wire};
use crate::{Result, Task};

const BULK: usize = 65536;
const WARM_UP: usize = 500;
const MANY_SECONDS: f64 = 5.0;

pub async fn run(task: Task) -> Result<()> {
    let endpoint = client()?;
    let n = task.n;
    match task.scenario.as_str() {
        "connect" => connect_anew(&endpoint, &task).await?,
        "idle" => idle(&endpoint, &task).await?,
        "many" => many(&endpoint, &task).await?,
        scenario => {
            let wire = Wire::dial(&endpoint, task.address).await?;
            match scenario {
                "bulk" => stream_alone(wire, BULK, n).await?,
                "rate" => stream_alone(wire, 100, n).await?,
                "pingpong" => ping_pong(wire, n as usize).await?,
                "lat" => paced(wire, (n * 200.0) as u32).await?,
                _ => return Err("unknown scenario".into()),
            }
        }
    }
    endpoint.wait_idle().await;
    Ok(())
}

/// Sends for so many seconds, then END, and waits until all is taken.
async fn stream(mut wire: Wire, size: usize, seconds: f64) -> Result<u64> {
    let message = vec![0; size];
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let glance = if size < BULK { 16 } else { 1 }; // messages between two looks at the clock
    let mut sent = 0;
    while sent % glance != 0 || Instant::now() < end {
        wire.send(&message).await?;
        sent += 1;
    }
    wire.send(b"END").await?;
    wire.closed().await;
    Ok(sent)
}

async fn stream_alone(wire: Wire, size: usize, seconds: f64) -> Result<()> {
    let used = cpu();
    let sent = stream(wire, size, seconds).await?;
    println!(
        "{{\"role\":\"client\",\"sent\":{sent},\"cpu\":{:.3}}}",
        cpu() - used
    );
    Ok(())
}

async fn many(endpoint: &quinn::Endpoint, task: &Task) -> Result<()> {
    let mut wires = Vec::new();
    for _ in 0..task.n as usize {
        let mut wire = Wire::dial(endpoint, task.address).await?;
        wire.send(b"hi").await?; // the server sees a stream when something comes on it
        wires.push(wire);
    }
    let used = cpu();
    let mut running = JoinSet::new();
    for wire in wires {
        running.spawn(stream(wire, BULK, MANY_SECONDS));
    }
    let mut sent = 0;
    while let Some(one) = running.join_next().await {
        sent += one??;
    }
    println!(
        "{{\"role\":\"client\",\"sent\":{sent},\"cpu\":{:.3}}}",
        cpu() - used
    );
    Ok(())
}

async fn ping_pong(mut wire: Wire, rounds: usize) -> Result<()> {
    let (message, used) = (vec![0; 1024], cpu());
    let mut times = Vec::new();
    for round in 0..rounds + WARM_UP {
        let start = now();
        wire.send(&message).await?;
        wire.receive().await?;
        if round >= WARM_UP {
            times.push(now().saturating_sub(start));
        }
    }
    println!(
        "{{\"role\":\"client\",{},\"cpu\":{:.3}}}",
        percentiles(times),
        cpu() - used
    );
    wire.close();
    Ok(())
}

async fn paced(mut wire: Wire, count: u32) -> Result<()> {
    let (start, mut message) = (Instant::now(), [0; 200]);
    for index in 0..count {
        sleep_until(start + index * Duration::from_millis(5)).await;
        message[..8].copy_from_slice(&now().to_be_bytes());
        wire.send(&message).await?;
    }
    wire.send(b"END").await?;
    wire.closed().await;
    println!("{{\"role\":\"client\",\"sent\":{count}}}");
    Ok(())
}

async fn connect_anew(endpoint: &quinn::Endpoint, task: &Task) -> Result<()> {
    let (mut ages, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..task.n as usize {
        let start = now();
        let mut wire = Wire::dial(endpoint, task.address).await?;
        wire.send(&start.to_be_bytes()).await?;
        ages.push(u64::from_be_bytes(wire.receive().await?[..8].try_into()?));
        answers.push(now().saturating_sub(start));
        wire.close();
        sleep(Duration::from_millis(100)).await;
    }
    ages.sort_unstable();
    answers.sort_unstable();
    println!(
        "{{\"role\":\"client\",\"srv_ms\":{:.2},\"reply_ms\":{:.2},\"reply_max_ms\":{:.2}}}",
        at(&ages, 0.5) / 1e6,
        at(&answers, 0.5) / 1e6,
        at(&answers, 1.0) / 1e6
    );
    Ok(())
}

async fn idle(endpoint: &quinn::Endpoint, task: &Task) -> Result<()> {
    println!("BASE");
    sleep(Duration::from_millis(500)).await;
    let mut wires = Vec::new();
    for _ in 0..task.n as usize {
        let mut wire = Wire::dial(endpoint, task.address).await?;
        wire.send(b"hi").await?;
        wire.receive().await?;
        wires.push(wire);
    }
    println!("IDLE");
    sleep(Duration::from_secs(15)).await;
    println!("{{\"role\":\"client\",\"n\":{}}}", wires.len());
    Ok(())
}
