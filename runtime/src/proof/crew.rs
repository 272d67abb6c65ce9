//! Spreads work over every core, with the same answer whatever their number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Maps items on every core, keeping their order.
pub(super) fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let slots: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let next = AtomicUsize::new(0);
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        // This thread is one of the crew.
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| shift(&slots, &next, &work))).collect();
        let mut results = shift(&slots, &next, &work);
        let joined = others.into_iter().map(|worker| worker.join().expect("reading never panics"));
        results.extend(joined.flatten());
        results
    });
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// One worker: takes the next item until none is left.
fn shift<T, R>(slots: &[Mutex<Option<T>>], next: &AtomicUsize, work: &impl Fn(T) -> R) -> Vec<(usize, R)> {
    let mut done = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = slots.get(index) else { return done };
        let item = slot.lock().ok().and_then(|mut slot| slot.take());
        done.extend(item.map(|item| (index, work(item))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_their_items() {
        let items: Vec<u64> = (0..1000).collect();
        let doubled: Vec<u64> = items.iter().map(|item| item * 2).collect();
        assert_eq!(in_parallel(items, |item| item * 2), doubled);
        assert!(in_parallel(Vec::<u64>::new(), |item| item).is_empty());
    }
}
