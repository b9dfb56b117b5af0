//! Which servers are believed, and for how long.

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::StoreId;
use rpyc_protocol::registry::reply::Endpoint;

use super::*;

const BOUNDS: Bounds = Bounds { stale: Duration::from_secs(600), grace: Duration::from_secs(75) };

fn instance(port: u16) -> Instance {
    let endpoint = Endpoint { host: "10.0.0.1".into(), port: Port::tcp(port).unwrap() };
    Instance { id: Some(port.into()), ..Instance::at(endpoint) }
}

fn revision(store: u32, number: u64) -> Revision {
    Revision { store: StoreId::new(store), number }
}

fn servers(registry: &str, revision: Option<Revision>, ports: &[u16]) -> ServerSet {
    let instances = ports.iter().copied().map(instance).collect();
    ServerSet { registry: registry.parse().unwrap(), revision, instances }
}

fn known(revision: Option<Revision>, ports: &[u16]) -> (Known, Instant) {
    let mut known = Known::new(BOUNDS);
    let now = Instant::now();
    assert!(known.replace(now, servers("a", revision, ports)).is_empty());
    (known, now)
}

/// Each port, with `?` if it is a suspect.
fn shown(known: &Known) -> Vec<String> {
    let mut ports: Vec<_> = known
        .instances()
        .map(|it| {
            let doubt = if it.state == State::Suspect { "?" } else { "" };
            format!("{}{doubt}", it.endpoint.port)
        })
        .collect();
    ports.sort();
    ports
}

fn change(number: u64, kind: ChangeKind) -> Change {
    Change { revision: revision(1, number), kind }
}

fn added(port: u16) -> ChangeKind {
    ChangeKind::Added("A".into(), Box::new(instance(port)))
}

fn removed(port: u16) -> ChangeKind {
    ChangeKind::Removed("A".into(), Box::new(instance(port)))
}

#[test]
fn an_empty_answer_after_a_full_one_is_not_believed_for_the_grace() {
    let (mut known, now) = known(Some(revision(1, 5)), &[1, 2]);
    let events = known.replace(now, servers("a", Some(revision(1, 6)), &[]));
    assert_eq!(events, [EventKind::HeldBack { instances: 2 }]);
    assert_eq!(shown(&known), ["1?", "2?"]);
    assert_eq!((known.held_since(), known.next_expiry()), (Some(now), Some(now + BOUNDS.grace)));
    // One is back, and the registry returns it again.
    assert!(known.changed(now, change(7, added(1))).is_empty());
    assert_eq!(shown(&known), ["1", "2?"]);
    let end = now + BOUNDS.grace;
    assert!(known.expire(end - Duration::from_millis(1)).is_empty());
    assert_eq!(known.expire(end), [EventKind::Released { instances: 1 }]);
    assert_eq!(shown(&known), ["1"]);
    assert_eq!((known.held_since(), known.next_expiry()), (None, None));
}

#[test]
fn the_grace_is_not_prolonged_by_further_empty_answers() {
    let (mut known, now) = known(None, &[1]);
    known.replace(now, servers("a", None, &[]));
    assert!(known.replace(now + BOUNDS.grace / 2, servers("a", None, &[])).is_empty());
    assert_eq!(known.expire(now + BOUNDS.grace).len(), 1);
    assert!(known.replace(now + BOUNDS.grace, servers("a", None, &[])).is_empty());
    assert!(shown(&known).is_empty());
}

#[test]
fn a_registry_that_lost_its_table_does_not_send_all_to_the_first_that_is_back() {
    let (mut known, now) = known(Some(revision(1, 500)), &[1, 2, 3]);
    let events = known.replace(now, servers("a", Some(revision(2, 1)), &[2]));
    assert_eq!(events, [EventKind::HeldBack { instances: 2 }]);
    assert_eq!(shown(&known), ["1?", "2", "3?"]);
    // A shorter answer from the same table is believed.
    known.replace(now, servers("a", Some(revision(2, 5)), &[2, 1, 3]));
    known.replace(now, servers("a", Some(revision(2, 6)), &[3]));
    assert_eq!(shown(&known), ["3"]);
}

#[test]
fn an_older_state_of_the_same_table_is_refused_until_nothing_good_is_left() {
    let (mut known, now) = known(Some(revision(1, 5)), &[1]);
    let (older, newer) = (revision(1, 4), revision(1, 5));
    let refused = EventKind::Older { received: older, known: newer };
    let events = known.replace(now, servers("a", Some(older), &[9]));
    assert_eq!(events, [refused.clone(), EventKind::Stale]);
    assert_eq!(shown(&known), ["1"]);
    assert_eq!(known.freshness(), Freshness::Stale { since: now });
    assert_eq!(known.changed(now, change(4, added(9))), [refused]);
    assert_eq!(known.replace(now, servers("a", Some(newer), &[1, 2])), [EventKind::Recovered]);

    known.replace(now, servers("a", Some(older), &[9]));
    let end = now + BOUNDS.stale;
    assert!(known.expire(end - Duration::from_millis(1)).is_empty());
    assert_eq!(known.expire(end), [EventKind::Lost]);
    assert_eq!((shown(&known), known.freshness()), (vec![], Freshness::Lost));
    assert_eq!(known.replace(end, servers("a", Some(older), &[9])), [EventKind::Recovered]);
    assert_eq!(shown(&known), ["9"]);
}

#[test]
fn a_made_up_revision_does_not_keep_out_the_real_ones() {
    for made_up in [u64::MAX, 1 << 53, COMPARABLE + 9] {
        // As the first answer, and after real ones.
        let (mut known, now) = known(Some(revision(1, made_up)), &[6]);
        known.replace(now, servers("a", Some(revision(1, 5)), &[1]));
        assert_eq!(shown(&known), ["1", "6?"]);
        known.replace(now, servers("b", Some(revision(1, made_up)), &[6, 7]));
        assert_eq!(shown(&known), ["1?", "6", "7"]);
        let events = known.replace(now, servers("a", Some(revision(1, 6)), &[1, 2]));
        assert!(!events.contains(&EventKind::Stale), "{events:?}");
        assert_eq!(known.revision(), Some(revision(1, 6)));
        known.replace(now, servers("a", Some(revision(1, 7)), &[1, 2]));
        known.expire(now + BOUNDS.grace);
        assert_eq!(shown(&known), ["1", "2"]);
    }
}

#[test]
fn a_revision_that_no_answer_reaches_is_given_up_in_the_end() {
    let (mut known, now) = known(Some(revision(1, 1_000_000)), &[6]);
    let half = now + DOUBT / 2;
    let older = |known: &mut Known, now| {
        let events = known.replace(now, servers("a", Some(revision(1, 5)), &[1]));
        !events.iter().any(|event| matches!(event, EventKind::Older { .. }))
    };
    assert!(!older(&mut known, now) && !older(&mut known, half));
    // One that reaches it begins the time anew.
    known.replace(half, servers("a", Some(revision(1, 1_000_001)), &[6]));
    assert!(!older(&mut known, half) && !older(&mut known, now + DOUBT));
    assert!(older(&mut known, half + DOUBT));
    assert_eq!(
        (shown(&known), known.revision()),
        (vec!["1".into(), "6?".into()], Some(revision(1, 5)))
    );
    assert_eq!(known.freshness(), Freshness::Polled);
}

#[test]
fn after_a_reset_the_state_that_the_registry_sends_counts() {
    let (mut known, now) = known(Some(revision(1, 1_000_000)), &[6]);
    known.watched(true);
    known.changed(now, change(5, ChangeKind::Reset));
    known.changed(now, change(5, added(1)));
    assert!(!known.changed(now, change(5, ChangeKind::Current)).contains(&EventKind::Stale));
    assert_eq!(known.revision(), Some(revision(1, 5)));
    assert_eq!(shown(&known), ["1", "6?"]);
    known.changed(now, change(6, added(2)));
    assert_eq!(shown(&known), ["1", "2", "6?"]);
}

#[test]
fn without_a_registry_the_last_answer_is_used_for_a_bounded_time() {
    let (mut known, now) = known(None, &[1]);
    assert_eq!(known.freshness(), Freshness::Polled);
    assert_eq!(known.lost(now), [EventKind::Stale]);
    assert!(known.lost(now + BOUNDS.stale / 2).is_empty(), "one event is enough");
    assert_eq!(shown(&known), ["1"], "and not in doubt: servers go on without a registry");
    assert_eq!(known.replace(now, servers("b", None, &[1])).len(), 2, "recovered, and moved");
    assert_eq!(known.lost(now), [EventKind::Stale]);
    assert_eq!(known.expire(now + BOUNDS.stale), [EventKind::Lost]);
    assert!(known.expire(now + 2 * BOUNDS.stale).is_empty());
    assert!(shown(&known).is_empty());
}

#[test]
fn changes_are_followed() {
    let (mut known, now) = known(Some(revision(1, 5)), &[1]);
    known.watched(true);
    assert_eq!(known.freshness(), Freshness::Watched);
    known.changed(now, change(6, added(2)));
    let mut draining = instance(1);
    draining.state = State::Draining;
    known.changed(now, change(7, ChangeKind::Updated("A".into(), Box::new(draining.clone()))));
    assert_eq!(known.instances().next().unwrap().state, State::Draining);
    known.changed(now, change(8, ChangeKind::Removed("A".into(), Box::new(draining))));
    assert_eq!(shown(&known), ["2"]);
    assert_eq!(known.revision(), Some(revision(1, 8)));
    assert_eq!(known.changed(now, change(9, removed(2))), [EventKind::HeldBack { instances: 1 }]);
    assert_eq!(shown(&known), ["2?"], "the last one is not let go so soon");
}

#[test]
fn the_last_one_may_go_if_it_said_so() {
    let (mut known, now) = known(Some(revision(1, 5)), &[1]);
    let mut draining = instance(1);
    draining.state = State::Draining;
    known.changed(now, change(6, ChangeKind::Updated("A".into(), Box::new(draining.clone()))));
    assert!(
        known
            .changed(now, change(7, ChangeKind::Removed("A".into(), Box::new(draining))))
            .is_empty()
    );
    assert!(shown(&known).is_empty());
}

#[test]
fn after_a_reset_nothing_is_forgotten_before_all_has_been_told() {
    let (mut known, now) = known(Some(revision(1, 5)), &[1, 2]);
    known.changed(now, change(9, ChangeKind::Reset));
    known.changed(now, change(9, added(2)));
    known.changed(now, change(9, added(3)));
    assert_eq!(shown(&known), ["1", "2"]);
    known.changed(now, change(9, ChangeKind::Current));
    assert_eq!(shown(&known), ["2", "3"]);
    // Cut off in the midst of it, it does not count.
    known.changed(now, change(12, ChangeKind::Reset));
    known.watched(false);
    known.changed(now, change(12, ChangeKind::Current));
    assert_eq!(shown(&known), ["2", "3"]);
}

#[test]
fn times_are_not_kept() {
    let mut known = Known::new(BOUNDS);
    let mut one = instance(1);
    one.age = Some(Duration::from_secs(1));
    one.left = Some(Duration::from_secs(1));
    let servers = ServerSet { instances: vec![one], ..servers("a", None, &[]) };
    known.replace(Instant::now(), servers);
    let one = known.instances().next().unwrap();
    assert_eq!((one.age, one.left), (None, None));
}
