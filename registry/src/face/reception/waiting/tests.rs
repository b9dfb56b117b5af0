//! A waiting answer becomes an answer, a refusal or silence, in paused time.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rpyc_protocol::registry::native::{ErrorCode, Reply, Request, StoreId};
use rpyc_protocol::registry::reply::ACKNOWLEDGEMENT;
use tokio::sync::watch;

use super::*;
use crate::access::Access;
use crate::counters::Counters;
use crate::dispatch::Outcome;
use crate::host::Host;
use crate::net::Interfaces;
use crate::store::{Change, Origin, Progress, Store, Ticket};
use crate::table::{Arrival, Asker, Registry, TableConfig, Transport};

const LEGACY: &[u8] = b"\x12\x08\x0dRPYC\x08\x0e\x08REGISTER\x11\x10\x08\x0aA\x51";
const NATIVE: &[u8] = br#"{"v":1,"op":"register","names":["b"],"port":2,"key":"0123456789"}"#;

/// A store that commits on command of the test.
#[derive(Debug)]
struct SlowStore {
    last: Ticket,
    progress: watch::Sender<Progress>,
}

impl Store for SlowStore {
    fn kind(&self) -> &'static str {
        "slow"
    }

    fn record(&mut self, _: Change) -> Ticket {
        self.last = self.last.next();
        self.last
    }

    fn last_ticket(&self) -> Ticket {
        self.last
    }

    fn reserve(&mut self, _: u64) {}

    fn ran(&mut self, _: Duration) {}

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

struct Table {
    reception: Reception,
    dispatcher: Dispatcher,
    progress: watch::Sender<Progress>,
}

impl Table {
    fn new() -> Self {
        let (now, progress) = (Instant::now().into_std(), watch::Sender::default());
        let store = SlowStore { last: Ticket::default(), progress: progress.clone() };
        let origin = Origin::empty(StoreId::new(1));
        let (config, entropy) = (TableConfig::default(), Box::new(|| 4));
        let registry = Registry::new(now, config, Box::new(store), origin, entropy);
        let counters = Arc::new(Counters::new(now));
        let dispatcher = Dispatcher::new(now, registry, Access::default(), Arc::clone(&counters));
        let reception = Reception::new(counters, Interfaces::default());
        Self { reception, dispatcher, progress }
    }

    /// Serves a registration whose answer waits.
    fn ask(
        &self,
        transport: Transport,
        message: &[u8],
    ) -> BoxFuture<'static, Result<Vec<u8>, NotDurable>> {
        let (host, arrival) = (Host::new([10, 0, 0, 1].into(), 0), Arrival::UNKNOWN);
        let asker =
            Asker { host, port: 1, is_here: false, reached: None, link: 0, transport, arrival };
        let (now, mut buffer) = (Instant::now().into_std(), Vec::new());
        match self.dispatcher.handle(now, &asker, message, &mut buffer) {
            Outcome::Deferred(deferred, bytes) => {
                self.reception.settle(&self.dispatcher, deferred, bytes).boxed()
            }
            Outcome::Reply(bytes) => {
                let cookie = Reply::parse(bytes).unwrap().cookie;
                let request = Request::parse(message).unwrap();
                assert!(cookie.is_some() && request.cookie.is_none());
                self.ask(transport, &Request { cookie, ..request }.to_bytes())
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn fail(&self) {
        self.progress.send_modify(|progress| progress.failure = Some("no room".into()));
    }
}

fn refusal(answer: &[u8]) -> String {
    let error = Reply::parse(answer).unwrap().error.unwrap();
    assert_eq!(error.code, ErrorCode::NotDurable);
    error.message
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_when_its_change_is_durable() {
    let table = Table::new();
    let answer = tokio::spawn(table.ask(Transport::Udp4, LEGACY));
    tokio::task::yield_now().await;
    assert!(!answer.is_finished());
    table.progress.send_modify(|progress| progress.committed = Ticket::new(1));
    assert_eq!(answer.await.unwrap().unwrap(), ACKNOWLEDGEMENT);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_refuses_whom_it_can_tell_so() {
    let table = Table::new();
    table.fail();
    let told = table.ask(Transport::Tcp, NATIVE).await.unwrap();
    assert!(refusal(&told).ends_with("no room"));
    table.ask(Transport::Tcp, LEGACY).await.unwrap_err();
    let started = Instant::now();
    table.ask(Transport::Udp4, LEGACY).await.unwrap_err();
    assert_eq!(started.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_slow_store_until_the_deadline() {
    let table = Table::new();
    assert!(refusal(&table.ask(Transport::Tcp, NATIVE).await.unwrap()).ends_with("in time"));
    // By then another program may have its port.
    table.ask(Transport::Udp4, NATIVE).await.unwrap_err();
    drop(table.progress.send_replace(Progress::default()));
}

#[tokio::test(start_paused = true)]
async fn the_answers_of_all_faces_share_one_bound() {
    let table = Table::new();
    let many = u32::try_from(LIMIT - 1).unwrap();
    let others = table.reception.waiting.try_acquire_many(many).unwrap();
    let last = table.ask(Transport::Udp4, LEGACY);
    assert!(
        refusal(&table.ask(Transport::Tcp, NATIVE).await.unwrap()).ends_with("wait for the store")
    );
    drop((others, last));
    assert_eq!(table.reception.waiting.available_permits(), LIMIT);
}
