//! Calls that are under way.

use serde::de::DeserializeOwned;

use super::{RUNTIME, wait};
use crate::{Call, CallError};

/// A call that is under way; see [`crate::PendingCall`]. Dropping it gives the call up.
#[derive(Debug)]
#[must_use = "dropping this abandons the call"]
pub struct PendingCall<T>(crate::PendingCall<T>);

impl<T: DeserializeOwned + Send + 'static> PendingCall<T> {
    pub(super) fn new(call: Call<T>) -> Self {
        let _runtime = RUNTIME.enter();
        Self(call.spawn())
    }
}

impl<T> PendingCall<T> {
    /// Whether the result, or the error, has come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// The result, if it is there and was not taken yet.
    pub fn try_result(&mut self) -> Option<Result<T, CallError>> {
        self.0.try_result()
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Panics
    /// If the result was taken already.
    pub fn wait(self) -> Result<T, CallError> {
        wait(self.0)
    }
}
