//! Trying one thing after another without waiting for each to end.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Starts `attempts` one after another; the first success ends all of them.
///
/// The next attempt starts when `stagger` has passed since the last started, or at once when one
/// fails. If all fail, so does the race, with the failures in the order of the attempts.
///
/// # Cancel safety
/// Dropping the future drops the attempts that are under way.
pub(crate) async fn first_success<T, E>(
    attempts: impl IntoIterator<Item: Future<Output = Result<T, E>>>,
    stagger: Duration,
) -> Result<T, Vec<E>> {
    let mut waiting = attempts
        .into_iter()
        .enumerate()
        .map(|(place, attempt)| async move { attempt.await.map_err(|error| (place, error)) })
        .peekable();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        running.extend(waiting.next());
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some(Ok(success)) => return Ok(success),
                Some(Err(failure)) => failures.push(failure),
                None => break,
            },
            () = tokio::time::sleep(stagger), if waiting.peek().is_some() => {}
        }
    }
    failures.sort_unstable_by_key(|(place, _)| *place);
    Err(failures.into_iter().map(|(_, error)| error).collect())
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};
    use std::pin::Pin;

    use tokio::time::{Instant, sleep};

    use super::*;

    const STAGGER: Duration = Duration::from_millis(250);

    type Attempt = Pin<Box<dyn Future<Output = Result<&'static str, &'static str>>>>;

    fn after(millis: u64, result: Result<&'static str, &'static str>) -> Attempt {
        Box::pin(async move {
            sleep(Duration::from_millis(millis)).await;
            result
        })
    }

    async fn check(
        attempts: Vec<Attempt>,
        expected: Result<&'static str, Vec<&'static str>>,
        millis: u64,
    ) {
        let start = Instant::now();
        assert_eq!(first_success(attempts, STAGGER).await, expected);
        // The timer's grain is a millisecond.
        let off = start.elapsed().abs_diff(Duration::from_millis(millis));
        assert!(off <= Duration::from_millis(5), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_black_hole_costs_one_stagger() {
        check(vec![Box::pin(pending()), after(10, Ok("second"))], Ok("second"), 260).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        let attempts = vec![after(10, Err("a")), after(10, Err("b")), after(10, Ok("c"))];
        check(attempts, Ok("c"), 30).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_succeed_wins_wherever_it_stands() {
        check(vec![after(600, Ok("slow")), after(100, Ok("quick"))], Ok("quick"), 350).await;
        check(vec![after(300, Ok("slow")), after(100, Ok("quick"))], Ok("slow"), 300).await;
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told_in_order() {
        let attempts = vec![after(900, Err("a")), after(10, Err("b")), after(10, Err("c"))];
        check(attempts, Err(vec!["a", "b", "c"]), 900).await;
        let none: [Ready<Result<(), ()>>; 0] = [];
        assert_eq!(first_success(none, STAGGER).await, Err(vec![]));
        assert_eq!(first_success([ready(Ok::<_, ()>(1))], STAGGER).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn losers_are_dropped_and_later_ones_never_start() {
        let started = std::cell::Cell::new(0);
        let attempts = (0..3).map(|i| {
            let started = &started;
            async move {
                started.set(started.get() + 1);
                if i == 0 { pending().await } else { Ok::<_, ()>(i) }
            }
        });
        assert_eq!(first_success(attempts, STAGGER).await, Ok(1));
        assert_eq!(started.get(), 2);
    }
}
