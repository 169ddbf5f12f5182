//! Clocks, processor time, percentiles.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock in ns: both programs run on one machine, so it compares between them.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos() as u64)
}

/// What this process used so far, user and system, all threads, in seconds.
pub fn cpu() -> f64 {
    // SAFETY: a rusage of zeros is valid, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The time in ns that `share` of the sorted times don't exceed.
pub fn at(sorted: &[u64], share: f64) -> f64 {
    let index = (share * sorted.len() as f64) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |time| *time as f64)
}

/// Times in ns as members of a JSON object, in µs.
pub fn percentiles(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    let us = |share| at(&times, share) / 1e3;
    format!(
        "\"n\":{},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1}",
        times.len(),
        us(0.5),
        us(0.99),
        us(0.999),
        us(1.0)
    )
}
