//! In which order servers are tried.

use rpyc_protocol::registry::Port;

use super::*;

#[derive(Default)]
struct Loads {
    ejected: Vec<u16>,
    connections: HashMap<u16, usize>,
}

fn number(endpoint: &Endpoint) -> u16 {
    endpoint.port.to_tcp().unwrap()
}

impl Load for Loads {
    fn is_ejected(&self, endpoint: &Endpoint) -> bool {
        self.ejected.contains(&number(endpoint))
    }

    fn connections(&self, endpoint: &Endpoint) -> usize {
        self.connections.get(&number(endpoint)).copied().unwrap_or_default()
    }
}

fn instance(port: u16, change: impl FnOnce(&mut Instance)) -> Instance {
    let endpoint = Endpoint { host: "10.0.0.1".into(), port: Port::tcp(port).unwrap() };
    let mut instance = Instance::at(endpoint);
    change(&mut instance);
    instance
}

fn weighing(port: u16, weight: u16) -> Instance {
    instance(port, |it| it.details.weight = Some(weight))
}

fn order(
    load_balancing: LoadBalancing,
    all: &[Instance],
    zone: Option<&str>,
    loads: &Loads,
) -> Vec<u16> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut turns = Turns::default();
    let ordered = load_balancing.order(all.iter(), zone, loads, &mut turns, || random.f64());
    ordered.into_iter().map(|it| number(&it.endpoint)).collect()
}

#[test]
fn states_zones_weights_and_failures_come_before_any_policy() {
    let in_zone = |it: &mut Instance| it.details.zone = Some("z".into());
    let all = [
        weighing(9, 0),
        instance(5, |it| it.state = State::Failing),
        instance(4, |it| it.state = State::Suspect),
        instance(2, |_| ()),
        instance(1, in_zone),
        instance(7, |it| it.state = State::Draining),
        instance(3, |it| {
            it.state = State::Suspect;
            in_zone(it);
        }),
        instance(10, in_zone),
    ];
    let loads = Loads { ejected: vec![10], ..Loads::default() };
    for choice in [
        LoadBalancing::WeightedRandom,
        LoadBalancing::RoundRobin,
        LoadBalancing::LeastConnections,
        LoadBalancing::PowerOfTwo,
    ] {
        let expected = [1, 2, 3, 4, 5, 9, 10];
        assert_eq!(order(choice, &all, Some("z"), &loads), expected, "{choice:?}");
    }
    assert!(order(LoadBalancing::default(), &all[5..6], None, &loads).is_empty());
    assert_eq!(order(LoadBalancing::default(), &all[..1], None, &loads), [9], "better than none");
}

/// How often each of the servers is first.
fn shares(
    load_balancing: LoadBalancing,
    all: &[Instance],
    loads: &Loads,
    n: usize,
) -> HashMap<u16, usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut turns = Turns::default();
    let mut firsts = HashMap::new();
    for _ in 0..n {
        let ordered = load_balancing.order(all.iter(), None, loads, &mut turns, || random.f64());
        *firsts.entry(number(&ordered[0].endpoint)).or_default() += 1;
    }
    firsts
}

#[test]
fn chance_is_in_proportion_to_weight() {
    let all = [weighing(1, 1), weighing(2, 3)];
    let firsts = shares(LoadBalancing::WeightedRandom, &all, &Loads::default(), 10_000);
    assert!((2300..2700).contains(&firsts[&1]), "{firsts:?}");
}

#[test]
fn turns_are_in_proportion_to_weight_and_even() {
    let all = [weighing(1, 1), weighing(2, 2), weighing(3, 1)];
    let mut turns = Turns::default();
    let loads = Loads::default();
    let firsts: Vec<_> = (0..8)
        .map(|_| {
            let ordered =
                LoadBalancing::RoundRobin.order(all.iter(), None, &loads, &mut turns, || 0.5);
            number(&ordered[0].endpoint)
        })
        .collect();
    assert_eq!(firsts, [2, 1, 3, 2, 2, 1, 3, 2]);
}

#[test]
fn the_least_loaded_for_its_weight_is_first() {
    let all = [weighing(1, 1), weighing(2, 4), weighing(3, 1)];
    let loads = Loads { connections: [(1, 2), (2, 4), (3, 5)].into(), ..Loads::default() };
    assert_eq!(order(LoadBalancing::LeastConnections, &all, None, &loads), [2, 1, 3]);
    assert_eq!(order(LoadBalancing::LeastConnections, &all, None, &Loads::default())[0], 2);
    let equal = [weighing(1, 1), weighing(2, 1)];
    let firsts = shares(LoadBalancing::LeastConnections, &equal, &Loads::default(), 1000);
    assert!(firsts[&1] > 400 && firsts[&2] > 400, "{firsts:?}");
}

#[test]
fn of_two_by_chance_the_less_loaded_is_first() {
    let all = [weighing(1, 1), weighing(2, 1), weighing(3, 1)];
    let loads = Loads { connections: [(1, 9), (2, 5), (3, 1)].into(), ..Loads::default() };
    let firsts = shares(LoadBalancing::PowerOfTwo, &all, &loads, 3000);
    assert!(!firsts.contains_key(&1), "the worst of all is the worse of any two: {firsts:?}");
    assert!((850..1150).contains(&firsts[&2]), "{firsts:?}");
}
