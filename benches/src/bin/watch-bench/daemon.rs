//! The resources that a process uses, as the kernel counts them.

use std::fs;
use std::ops::Sub;

use anyhow::Context;

/// The processor time of a process, in seconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) kernel: f64,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before the fields may contain any characters, even brackets.
        let (_, fields) = stat.rsplit_once(')').context("no process status")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next().context("no times")?.parse::<f64>().context("no number");
        let per_second = 100.0;
        Ok(Self { user: ticks()? / per_second, kernel: ticks()? / per_second })
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, kernel: self.kernel - before.kernel }
    }
}

/// The memory of a process, in kilobytes.
pub(crate) fn memory(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
