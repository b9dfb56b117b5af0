//! UDP: one request a datagram, answered from the address that it was sent to.
//!
//! A task serves the sockets of one lane, and receives and answers many datagrams at a time. A
//! batch reads shared state once, and never waits to be full. All datagrams of a host reach one
//! task, which serves its changes in the order of their arrival, before the queries of the batch.

mod batch;
mod inlets;
mod lane;

pub(crate) use lane::serve;
