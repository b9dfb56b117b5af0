//! Shedding of a share of requests.

/// The share of one kind of request that is shed, spread evenly over the requests.
///
/// Plain data: the code that serves a request of that kind calls [`Load::sheds`] once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    share: f64,
    /// The part of a request that is overdue to be shed.
    owed: f64,
}

impl Load {
    /// Sheds this share from now on, from 0 to 1.
    pub(crate) fn set_share(&mut self, share: f64) {
        self.share = share.clamp(0.0, 1.0);
    }

    /// Counts one request, and returns whether to shed it.
    pub(crate) fn sheds(&mut self) -> bool {
        if self.share == 0.0 {
            self.owed = 0.0;
            return false;
        }
        self.owed += self.share;
        let is_due = self.owed >= 1.0;
        if is_due {
            self.owed -= 1.0;
        }
        is_due
    }
}
