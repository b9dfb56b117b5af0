//! The protocol between two programs: one calls, the other answers, and either may.
//!
//! | Layer | Type | What it does |
//! |---|---|---|
//! | dialect | [`Dialect`] | which of the forms that do not understand each other is spoken |
//! | frames | [`FrameDecoder`], [`encode_frame`] | where a message begins and ends; compression |
//! | messages | [`Message`], [`Seq`] | request, reply or exception, and to which it belongs |
//! | boxes | [`Boxed`] | values, and references to objects: [`ObjectId`] ours, [`IdPack`] theirs |
//! | operations | [`Op`], [`Action`] | what may be asked of the peer, and of its objects |
//! | exceptions | [`Exception`] | how it went wrong; data, whatever their names |
//! | session | [`Session`] | a whole conversation: all of the above, with a memory |
//!
//! Most programs need the last one only. A call of a method with one argument, on the wire of
//! rpyc 6:
//!
//! ```text
//! 0000002f 00                          frame: 47 bytes, not compressed
//!   01                                 a request,
//!   11 53                              number 3:
//!     11 58                            CALLATTR
//!       11 52 13                       of four boxed arguments:
//!         11 53 12 .. "ledger.Book" 51 52   an object of the receiver's: its id pack
//!         11 51 08 0c "add"            the name of the attribute
//!         11 51 10 57                  (7,), by value
//!         11 51 02                     no keywords
//! 0a                                   the end of the frame
//! ```
//!
//! Described in full in `docs/wire.md`.

mod action;
mod boxed;
mod cursor;
mod dialect;
mod exception;
mod frame;
mod id;
mod limits;
mod message;
mod op;
mod refusal;
mod session;
mod zlib;

#[cfg(test)]
mod vectors;

pub use action::{Action, Arguments, Comparison};
pub use boxed::{Boxed, Unsendable};
pub use dialect::{Dialect, DialectError, Version};
pub use exception::Exception;
pub use frame::{FrameDecoder, FrameError, PayloadTooLong, encode_frame, frame_len};
pub use id::{Class, IdPack, ObjectId};
pub use limits::SessionLimits;
pub use message::{Kind, Message, MessageError, Seq, Threads};
pub use op::Op;
pub use refusal::Refusal;
pub use session::{
    CallFailure, CallId, CallOptions, CloseReason, Config, Event, ExportError, PeerThread, Request,
    RequestError, RequestId, Session, Stats,
};
