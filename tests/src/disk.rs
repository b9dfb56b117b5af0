//! A small disk that a test can fill.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, thread};

use crate::notice::notice;
use crate::scratch::Scratch;

/// A separate file system in memory; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    directory: Scratch,
}

impl Disk {
    /// Mounts a disk of so many bytes. Where that is not possible, prints the reason and the name
    /// of the skipped test on standard error, and returns `None`.
    ///
    /// With the variable `RPYC_TEST_MOUNTS=required`, the test fails instead.
    pub fn or_notice(bytes: u32) -> Option<Self> {
        Self::mount(&format!("size={bytes}"))
    }

    /// As [`or_notice`](Self::or_notice), with room for so many files, the mount point included.
    pub fn of_files(files: u32) -> Option<Self> {
        Self::mount(&format!("nr_inodes={files}"))
    }

    fn mount(size: &str) -> Option<Self> {
        let directory = Scratch::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "rpyc-test"]).arg(directory.path());
        let mounted = mount.stdin(Stdio::null()).output();
        let reason = match mounted {
            Ok(output) if output.status.success() => return Some(Self { directory }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let test = thread::current().name().unwrap_or_default().to_owned();
        let required = env::var_os("RPYC_TEST_MOUNTS").is_some_and(|value| value == "required");
        assert!(!required, "this test needs to mount a disk: {reason}");
        notice(&format!("tests: {test} is not run: mounting needs root on Linux ({reason})"));
        None
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("the disk can be written to");
        for size in [4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Frees the space that [`fill`](Self::fill) took.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("the disk has been filled");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Unmounts lazily, because a daemon may still be shutting down.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).output();
        if !unmounted.is_ok_and(|output| output.status.success()) {
            notice(&format!("tests: cannot unmount {}", self.path().display()));
        }
    }
}
