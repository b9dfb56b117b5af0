//! Files and trees, from here to there and back.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Classic;
use crate::{CallError, Parcel, RemoteObject, args, kwargs};

/// How much is in one message.
const CHUNK: usize = 256 << 10;

/// How many messages are under way at a time.
const PIPELINED: usize = 4;

/// What a file or a folder takes of the limit of a download besides its content: about what it
/// takes on disk, so that an endless tree of empty files ends, too.
const ENTRY: u64 = 4096;

/// How far a transfer is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file here that is being read or written.
    pub file: &'a Path,
    /// How many of its bytes are across.
    pub done: u64,
    /// How many it has.
    pub total: u64,
}

/// Why a file was not transferred. The part that was written remains.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The server would not, or is gone.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A file here cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The server has a file of a name that is none here, or that would lead elsewhere.
    #[error("{0:?} is not a valid file name")]
    Name(String),
    /// What the server sends is longer than the limit of the download.
    #[error("cannot download {remote:?}: it takes more than the limit of {limit} bytes")]
    TooLong {
        /// The file or tree there.
        remote: String,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// What is left of the limit of a download.
#[derive(Clone, Copy, Debug)]
struct Allowance<'a> {
    remote: &'a str,
    limit: u64,
    left: u64,
}

impl<'a> Allowance<'a> {
    fn new(remote: &'a str, limit: u64) -> Self {
        Self { remote, limit, left: limit }
    }

    fn too_long(&self) -> TransferError {
        TransferError::TooLong { remote: self.remote.to_owned(), limit: self.limit }
    }

    fn take(&mut self, bytes: u64) -> Result<(), TransferError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.too_long())?;
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    |error| TransferError::Io { path: path.to_owned(), error }
}

impl Classic {
    /// Copies a file or a tree from here to the path `remote` there, in binary.
    ///
    /// `progress` is called after each piece. Links are followed.
    ///
    /// # Errors
    /// [`TransferError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: part of it may be there.
    pub async fn upload(
        &self,
        local: impl AsRef<Path>,
        remote: &str,
        mut progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<(), TransferError> {
        let local = local.as_ref();
        let builtins = self.builtins().await?;
        if !fs::metadata(local).await.map_err(at(local))?.is_dir() {
            return send(&builtins, local, remote, &mut progress).await;
        }
        let os = self.modules("os").await?;
        let path: RemoteObject = os.attr("path").await?;
        let mut folders = vec![(local.to_owned(), remote.to_owned())];
        while let Some((folder, remote)) = folders.pop() {
            os.call::<()>("makedirs", (args![remote], kwargs! { exist_ok: true })).await?;
            let mut entries = fs::read_dir(&folder).await.map_err(at(&folder))?;
            while let Some(entry) = entries.next_entry().await.map_err(at(&folder))? {
                let name = entry
                    .file_name()
                    .into_string()
                    .map_err(|name| TransferError::Name(name.to_string_lossy().into_owned()))?;
                let there: String = path.call("join", args![remote, name]).await?;
                let here = entry.path();
                if fs::metadata(&here).await.map_err(at(&here))?.is_dir() {
                    folders.push((here, there));
                } else {
                    send(&builtins, &here, &there, &mut progress).await?;
                }
            }
        }
        Ok(())
    }

    /// How many bytes a [`download`](Self::download) may take: 1 GiB.
    pub const DEFAULT_DOWNLOAD_LIMIT: u64 = 1 << 30;

    /// Copies a file or a tree from the path `remote` there to here, in binary, of at most
    /// [`DEFAULT_DOWNLOAD_LIMIT`](Self::DEFAULT_DOWNLOAD_LIMIT) bytes. For more,
    /// [`download_at_most`](Self::download_at_most) takes a limit.
    ///
    /// `progress` is called after each piece. Links are not followed into other folders, and no
    /// name leads out of `local`.
    ///
    /// # Errors
    /// [`TransferError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: part of it may be here.
    pub async fn download(
        &self,
        remote: &str,
        local: impl AsRef<Path>,
        progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<(), TransferError> {
        self.download_at_most(remote, local, Self::DEFAULT_DOWNLOAD_LIMIT, progress).await
    }

    /// As [`download`](Self::download), of at most `limit` bytes in all files together; each file
    /// and each folder counts as 4 KiB besides its content. The server decides what it sends, so
    /// this bounds what it can write to the disk here.
    ///
    /// # Errors
    /// [`TransferError::TooLong`] past the limit; others as [`download`](Self::download).
    ///
    /// # Cancel safety
    /// Not cancel safe: part of it may be here.
    pub async fn download_at_most(
        &self,
        remote: &str,
        local: impl AsRef<Path>,
        limit: u64,
        mut progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<(), TransferError> {
        let local = local.as_ref();
        let mut allowance = Allowance::new(remote, limit);
        let builtins = self.builtins().await?;
        let os = self.modules("os").await?;
        let path: RemoteObject = os.attr("path").await?;
        if !path.call::<bool>("isdir", args![remote]).await? {
            let from = (&builtins, &path, remote);
            return receive(from, local, &mut allowance, &mut progress).await;
        }
        let walk: RemoteObject = os.call("walk", args![remote]).await?;
        let mut folders = walk.items().await?;
        while let Some((folder, _, files)) =
            folders.next::<(String, Vec<String>, Vec<String>)>().await?
        {
            let below: String = path.call("relpath", args![folder, remote]).await?;
            let here = inside(local, &below)?;
            allowance.take(ENTRY)?;
            fs::create_dir_all(&here).await.map_err(at(&here))?;
            for name in files {
                let there: String = path.call("join", args![folder, name]).await?;
                let file = inside(&here, &name)?;
                let from = (&builtins, &path, &*there);
                receive(from, &file, &mut allowance, &mut progress).await?;
            }
        }
        Ok(())
    }
}

/// The path of what the server calls `below`, which is not trusted.
fn inside(folder: &Path, below: &str) -> Result<PathBuf, TransferError> {
    let mut path = folder.to_owned();
    for name in below.split(['/', '\\']) {
        match name {
            "." => {}
            "" | ".." => return Err(TransferError::Name(below.to_owned())),
            // Programs show file names on terminals.
            name if name.contains(|active: char| active == ':' || active.is_control()) => {
                return Err(TransferError::Name(below.to_owned()));
            }
            name => path.push(name),
        }
    }
    Ok(path)
}

async fn send(
    builtins: &RemoteObject,
    local: &Path,
    remote: &str,
    progress: &mut (impl FnMut(Progress<'_>) + Send),
) -> Result<(), TransferError> {
    let mut file = File::open(local).await.map_err(at(local))?;
    let total = file.metadata().await.map_err(at(local))?.len();
    let there: RemoteObject = builtins.call("open", args![remote, "wb"]).await?;
    let mut done = 0;
    // The peer serves requests in order, so this side need not wait for each answer.
    let mut writes = FuturesOrdered::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).await.map_err(at(local))?;
        if count > 0 {
            let chunk = Parcel::bytes(buffer.get(..count).unwrap_or_default());
            writes.push_back(there.call::<u64>("write", args![chunk]).begin().await?);
        }
        while writes.len() >= PIPELINED || (count == 0 && !writes.is_empty()) {
            let Some(written) = writes.next().await else { break };
            done += written?;
            progress(Progress { file: local, done, total });
        }
        if count == 0 {
            break;
        }
    }
    there.call::<()>("close", ()).await?;
    Ok(())
}

async fn receive(
    (builtins, os_path, remote): (&RemoteObject, &RemoteObject, &str),
    local: &Path,
    allowance: &mut Allowance<'_>,
    progress: &mut (impl FnMut(Progress<'_>) + Send),
) -> Result<(), TransferError> {
    let there: RemoteObject = builtins.call("open", args![remote, "rb"]).await?;
    let total: u64 = os_path.call("getsize", args![remote]).await?;
    allowance.take(ENTRY)?;
    if total > allowance.left {
        return Err(allowance.too_long());
    }
    let mut file = File::create(local).await.map_err(at(local))?;
    let mut done = 0;
    let mut reads = FuturesOrdered::new();
    let mut is_done = false;
    while !is_done || !reads.is_empty() {
        while !is_done && reads.len() < PIPELINED {
            reads.push_back(there.call::<Parcel>("read", args![CHUNK]).begin().await?);
        }
        let Some(read) = reads.next().await else { break };
        let chunk: Vec<u8> = match read?.into_value() {
            Ok(crate::Value::Bytes(chunk)) => chunk,
            _ => Vec::new(),
        };
        is_done |= chunk.is_empty();
        allowance.take(chunk.len() as u64)?;
        file.write_all(&chunk).await.map_err(at(local))?;
        done += chunk.len() as u64;
        if !chunk.is_empty() {
            progress(Progress { file: local, done, total });
        }
    }
    file.flush().await.map_err(at(local))?;
    there.call::<()>("close", ()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_elsewhere() {
        let check = |below: &str, expected: Option<&str>| {
            let path = inside(Path::new("here"), below).ok();
            assert_eq!(path.as_deref(), expected.map(Path::new), "{below}");
        };
        check("a/b", Some("here/a/b"));
        check(".", Some("here"));
        check("..", None);
        check("a/../../b", None);
        check("/etc/passwd", None);
        check("a\\..\\b", None);
        check("C:evil", None);
        check("a\0b", None);
        check("a\x1b[2Jb", None);
        check("a\u{9b}b", None);
        check("é b", Some("here/é b"));
    }
}
