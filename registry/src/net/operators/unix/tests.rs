use std::os::unix::net::{UnixDatagram, UnixStream};

use tempfile::TempDir;

use super::*;

fn bind(path: &Path) -> Result<OperatorListener, BindError> {
    OperatorListener::bind(&OperatorSocket { path: path.to_owned(), group: None })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[tokio::test]
async fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_is_not() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let living = bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    UnixStream::connect(&path).unwrap();
    drop(living);
    assert!(!path.exists(), "removed at the end");
    // The file of a process that was killed stays.
    drop(StdListener::bind(&path).unwrap());
    let next = bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    UnixStream::connect(&path).unwrap();
    drop(next);
}

#[tokio::test]
async fn any_other_file_stays_and_is_an_error() {
    let directory = TempDir::new().unwrap();
    let (path, target) = (directory.path().join("s"), directory.path().join("target"));
    let check = |kind: io::ErrorKind| assert_eq!(bind(&path).unwrap_err().kind(), kind);
    fs::write(&path, "kept").unwrap();
    check(io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"kept");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    check(io::ErrorKind::AlreadyExists);
    drop(StdListener::bind(&target).unwrap());
    check(io::ErrorKind::AlreadyExists);
    assert!(target.exists(), "nothing behind a link is removed");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check(io::ErrorKind::AlreadyExists);
    fs::remove_dir(&path).unwrap();
    let _other = UnixDatagram::bind(&path).unwrap();
    check(io::ErrorKind::AddrInUse);
    let long = directory.path().join("s".repeat(200));
    assert_eq!(bind(&long).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let nowhere = directory.path().join("none/s");
    assert_eq!(bind(&nowhere).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn the_end_of_one_leaves_the_socket_of_another() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let first = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    UnixStream::connect(&path).unwrap();
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_group_may_connect_if_it_is_chosen() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let group = fs::metadata(directory.path()).unwrap().gid();
    let socket = OperatorSocket { path: path.clone(), group: Some(group) };
    let _listener = OperatorListener::bind(&socket).unwrap();
    assert_eq!((mode(&path), fs::metadata(&path).unwrap().gid()), (0o660, group));
}

#[test]
fn of_registries_that_start_at_once_one_gets_the_path() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    for _ in 0..20 {
        drop(StdListener::bind(&path).unwrap());
        let bound: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                let _entered = runtime.enter();
                bind(&path)
            };
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(bound.iter().filter(|bound| bound.is_ok()).count(), 1, "{bound:?}");
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }
}
