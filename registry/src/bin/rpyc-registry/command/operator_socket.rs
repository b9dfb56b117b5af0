//! Where the unix socket for operators is: the daemon makes it there, and commands look for it
//! there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rpyc_client::RegistryAddr;
use rpyc_registry::OperatorSocket;
use tracing::{info, warn};

use super::state_dir;
use crate::cli::{OperatorArgs, Operators, ServeArgs, SocketAt, StoreKind, Switches};
use crate::config::{self, Environment};

/// The name of the socket in its directory.
const FILE: &str = "operator.sock";

/// The directories that systemd makes for a unit as the documentation shows it: the one that a
/// group may enter, and the state directory.
const OF_UNIT: [&str; 2] = ["/run/rpyc-registry", "/var/lib/rpyc-registry"];

/// The socket of a daemon with these settings; `None` if it has none.
///
/// Without a state directory, the socket is a convenience that a daemon can do without. So the
/// default place is used if it can be.
///
/// # Errors
/// No state directory can be chosen, or the group is unknown.
pub(super) fn of_daemon(args: &ServeArgs) -> anyhow::Result<Option<OperatorSocket>> {
    let OperatorArgs { operator_socket, operator_group, .. } = &args.operators;
    let is_chosen = operator_socket.is_some();
    let Some(path) = place(args, |name| std::env::var_os(name))? else {
        if args.operators.operators == Operators::All && !is_chosen {
            info!("no socket for operators: there is no directory for it");
        }
        return Ok(None);
    };
    let group = operator_group.as_deref().map(group_id).transpose()?;
    if !is_chosen && let Err(error) = check_default(&path, args.store) {
        warn!(path = %path.display(), %error, "no socket for operators: choose --operator-socket");
        return Ok(None);
    }
    Ok(Some(OperatorSocket { path, group }))
}

/// The path of the socket, by the settings and the variables of the environment.
fn place(
    args: &ServeArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Option<PathBuf>> {
    let OperatorArgs { operators, operator_socket, .. } = &args.operators;
    let path = match (operators, operator_socket, args.store) {
        (Operators::None, ..) | (_, Some(SocketAt::Off), _) => None,
        (_, Some(SocketAt::Path(path)), _) => Some(path.clone()),
        (_, None, StoreKind::File) => {
            Some(state_dir::choose(args.state_dir.clone(), variable)?.join(FILE))
        }
        (_, None, StoreKind::Memory) => {
            state_dir::for_this_run(variable).map(|directory| directory.join(FILE))
        }
    };
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Ok(path.map(absolute))
}

/// Whether a socket can be at the default path. In memory, several registries of one user may run
/// side by side; the first has the socket.
fn check_default(path: &Path, store: StoreKind) -> io::Result<()> {
    check_length(path)?;
    if store == StoreKind::Memory {
        if let Some(directory) = path.parent() {
            state_dir::make_private(directory)?;
        }
        if is_live(path) {
            let message = "another registry of this user has it";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
    }
    Ok(())
}

/// The socket of the registry on this machine, if one listens where a daemon with the settings of
/// the environment would.
pub(super) fn find() -> Option<RegistryAddr> {
    let of_environment = config::resolve(Switches::default(), &Environment::of_process());
    let settings = of_environment
        .or_else(|_invalid| config::resolve(Switches::default(), &Environment::default()));
    let kinds = [StoreKind::File, StoreKind::Memory];
    let places = settings.ok().into_iter().flat_map(|settings| {
        kinds.map(|store| {
            let args = ServeArgs { store, ..settings.args.clone() };
            place(&args, |name| std::env::var_os(name)).ok().flatten()
        })
    });
    let of_unit = OF_UNIT.map(|directory| Path::new(directory).join(FILE));
    let mut places = places.flatten().chain(of_unit);
    places.find(|path| is_live(path)).map(RegistryAddr::unix)
}

#[cfg(unix)]
fn check_length(path: &Path) -> io::Result<()> {
    std::os::unix::net::SocketAddr::from_pathname(path).map(drop)
}

#[cfg(not(unix))]
fn check_length(_path: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no unix sockets"))
}

/// Whether a process listens at a unix socket to which this one may connect.
#[cfg(unix)]
fn is_live(path: &Path) -> bool {
    use socket2::{Domain, SockAddr, Socket, Type};
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        // It accepts no connection at the moment.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

#[cfg(not(unix))]
fn is_live(_path: &Path) -> bool {
    false
}

/// The id of a group that is given by name or by number.
#[cfg(unix)]
fn group_id(group: &str) -> anyhow::Result<u32> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let found = nix::unistd::Group::from_name(group).map_err(io::Error::from);
    let found = found.with_context(|| format!("cannot look up the group {group}"))?;
    let found = found.with_context(|| {
        format!("cannot find the group {group} (--operator-group): this system does not have it")
    })?;
    Ok(found.gid.as_raw())
}

#[cfg(not(unix))]
fn group_id(_group: &str) -> anyhow::Result<u32> {
    anyhow::bail!("this system has no unix sockets (--operator-group)")
}
