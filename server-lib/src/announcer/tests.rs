//! The announcer against registries on the loopback interface.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fake::{Fake, Heard};
use super::*;

/// Long enough for a busy machine; nothing waits this long when all is well.
const LONG: Duration = Duration::from_secs(20);
/// So short that renewals need not be waited for.
const OFTEN: Duration = Duration::from_millis(30);

fn builder(registries: Registries) -> AnnouncerBuilder {
    let names = ["payroll", "wages"].map(|name| ServiceName::new(name).unwrap());
    Announcer::builder(names, Port::tcp(18861).unwrap(), registries)
        .interval(OFTEN)
        .timeout(Duration::from_secs(1))
        .grace(LONG)
}

fn all_of(registries: &[&Fake]) -> Registries {
    Registries::all_of(registries.iter().map(|registry| registry.addr()))
}

/// An announcer that is under way.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<bool>,
    status: watch::Receiver<Vec<Status>>,
}

impl Running {
    fn start(announcer: Announcer) -> Self {
        let status = announcer.status();
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(announcer.run(stopped)), status }
    }

    /// Waits until the statuses are as wanted, and gives them.
    async fn until(&mut self, wanted: impl FnMut(&Vec<Status>) -> bool) -> Vec<Status> {
        self.status.wait_for(wanted).await.unwrap().clone()
    }

    async fn stop(self) -> bool {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn it_registers_at_once_renews_and_unregisters() {
    let mut registry = Fake::start().await;
    let mut running = Running::start(builder(registry.addr().into()).interval(LONG).build());
    registry.hear_register().await;
    let statuses = running.until(|all| all[0].is_acknowledged()).await;
    assert_eq!(registry.table(), ["PAYROLL 127.0.0.1 18861", "WAGES 127.0.0.1 18861"]);
    let last = statuses[0].last.as_ref().unwrap();
    assert_eq!(last.source.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert!(running.stop().await);
    assert_eq!(registry.table(), Vec::<String>::new());

    let mut running = Running::start(builder(registry.addr().into()).build());
    for _ in 0..5 {
        registry.hear_register().await;
    }
    let statuses = running.until(|all| {
        matches!(
            all[0].state, State::Acknowledged { since, renewed } if renewed > since
        )
    });
    statuses.await;
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_registry_that_forgot_is_told_again() {
    let mut registry = Fake::start().await;
    let running = Running::start(builder(registry.addr().into()).build());
    registry.hear_register().await;
    registry.forget();
    registry.stop_remembering();
    // One may have been under way; the second was sent after.
    registry.hear_register().await;
    registry.hear_register().await;
    assert_eq!(registry.table().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_silent_registry_is_tried_until_it_speaks() {
    let mut registry = Fake::start().await;
    registry.be_silent(true);
    let mut running = Running::start(builder(registry.addr().into()).build());
    let statuses = running.until(|all| all[0].is_failing()).await;
    let State::Failing { reason, .. } = &statuses[0].state else { panic!() };
    assert!(matches!(**reason, RegisterError::NoReply(_)), "{reason}");
    assert!(statuses[0].last.is_none());
    registry.stop_remembering();
    registry.be_silent(false);
    running.until(|all| all[0].is_acknowledged()).await;
    assert_eq!(registry.table().len(), 2);

    registry.be_silent(true);
    let statuses = running.until(|all| all[0].is_failing()).await;
    assert!(statuses[0].last.is_some(), "what the registry may remember is not forgotten here");
    registry.be_silent(false);
    assert!(running.stop().await);
    assert_eq!(registry.table(), Vec::<String>::new());
}

#[tokio::test]
async fn a_registry_that_comes_late_is_told() {
    let absent = Fake::absent(11);
    let registries = Registries::from(absent.clone());
    let mut running = Running::start(builder(registries).build());
    let statuses = running.until(|all| all[0].is_failing()).await;
    let State::Failing { reason, .. } = &statuses[0].state else { panic!() };
    assert!(matches!(**reason, RegisterError::NoRegistry(_)), "{reason}");
    let registry = Fake::start_at(&absent).await;
    running.until(|all| all[0].is_acknowledged()).await;
    assert_eq!(registry.table().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn it_ends_from_the_address_it_began_from() {
    // All of 127/8 is this machine's on Linux only.
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut registry = Fake::start().await;
    let bind = "127.0.0.7:18861".parse().unwrap();
    let mut running = Running::start(builder(registry.addr().into()).bind(bind).build());
    let registered = registry.hear_register().await;
    assert_eq!(registered.ip(), bind.ip());
    let statuses = running.until(|all| all[0].is_acknowledged()).await;
    assert_eq!(statuses[0].last.as_ref().unwrap().source.ip(), bind.ip());
    assert!(running.stop().await);
    assert_eq!(registry.hear_unregister().await.ip(), bind.ip());
    assert_eq!(registry.table(), Vec::<String>::new());
}

#[tokio::test]
async fn each_registry_is_told_whatever_the_others_do() {
    let (mut first, silent, mut third) =
        (Fake::start().await, Fake::start().await, Fake::start().await);
    silent.be_silent(true);
    let announcer = builder(all_of(&[&first, &silent, &third])).grace(Duration::from_secs(1));
    let mut running = Running::start(announcer.build());
    for registry in [&mut first, &mut third] {
        for _ in 0..3 {
            registry.hear_register().await;
        }
    }
    let statuses = running.until(|all| all[1].is_failing()).await;
    assert!(statuses[0].is_acknowledged() && statuses[2].is_acknowledged());
    assert!(running.stop().await, "who never acknowledged has nothing to forget");
    assert!(first.table().is_empty() && third.table().is_empty());
}

#[tokio::test]
async fn of_equal_registries_one_is_told_and_it_may_change() {
    let absent = Fake::absent(12);
    let mut second = Fake::start().await;
    let registries = Registries::any_of([absent.clone(), second.addr()]);
    let mut running = Running::start(builder(registries).build());
    second.hear_register().await;
    let statuses = running.until(|all| all[0].is_acknowledged()).await;
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0].last.as_ref().unwrap().registry, second.addr());

    let first = Fake::start_at(&absent).await;
    running.until(|all| all[0].last.as_ref().is_some_and(|last| last.registry == absent)).await;
    second.hear_unregister().await;
    assert!(running.stop().await);
    assert!(first.table().is_empty() && second.table().is_empty());
}

#[tokio::test]
async fn the_end_waits_no_longer_than_the_grace() {
    let registry = Fake::start().await;
    let grace = Duration::from_millis(200);
    let mut running = Running::start(builder(registry.addr().into()).grace(grace).build());
    running.until(|all| all[0].is_acknowledged()).await;
    registry.be_silent(true);
    let mut status = running.status.clone();
    let started = Instant::now();
    assert!(!running.stop().await);
    assert!(started.elapsed() >= grace && started.elapsed() < LONG, "{:?}", started.elapsed());
    assert!(status.borrow_and_update()[0].is_failing());
}

#[tokio::test]
async fn a_dropped_announcer_says_nothing() {
    let mut registry = Fake::start().await;
    let announcer = builder(registry.addr().into()).interval(LONG).build();
    let mut status = announcer.status();
    {
        let running = announcer.run(std::future::pending::<()>());
        tokio::select! {
            _ = running => panic!("it does not end"),
            all = status.wait_for(|all| all[0].is_acknowledged()) => drop(all),
        }
    }
    registry.hear_register().await;
    registry.forget();
    let other = builder(registry.addr().into()).build();
    assert!(other.announce_once().await[0].is_ok());
    assert!(matches!(registry.hear().await, Heard::Register(_)), "and no end of the first");
}

#[tokio::test]
async fn once_tells_each_outcome() {
    let (first, silent) = (Fake::start().await, Fake::start().await);
    silent.be_silent(true);
    let outcomes = builder(all_of(&[&silent, &first])).build().announce_once().await;
    assert!(matches!(outcomes[0], Err(RegisterError::NoReply(_))), "{outcomes:?}");
    assert_eq!(outcomes[1].as_ref().unwrap().registry, first.addr());
    assert_eq!(first.table().len(), 2);
}

#[tokio::test]
async fn with_nothing_to_tell_it_waits_for_the_end() {
    let running = Running::start(builder(Registries::all_of([])).build());
    tokio::task::yield_now().await;
    assert!(!running.task.is_finished());
    assert!(running.stop().await);
}

#[test]
fn it_may_run_on_any_thread() {
    fn check(_: impl Send) {}
    check(builder(Registries::nearby()).build().run(async {}));
}
