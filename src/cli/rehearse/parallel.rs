//! Rehearses many machines on all processors, and shows progress when it takes long. `mod.rs` calls it.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::output;

/// Work that takes longer than this shows progress.
const SILENT: Duration = Duration::from_secs(2);
/// Time between two updates of the progress on a terminal.
const UPDATE: Duration = Duration::from_millis(200);
/// Number of machines that a thread takes at once.
const CHUNK: usize = 64;

/// The results of `work` for all `items`, in their order.
pub(super) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    if items.len() <= CHUNK || threads == 1 {
        return items.iter().map(work).collect();
    }
    let chunks: Vec<&[T]> = items.chunks(CHUNK).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = || {
        let mut results = Vec::new();
        while let Some((place, chunk)) = take(&next, &chunks) {
            results.push((place, chunk.iter().map(&work).collect::<Vec<R>>()));
            done.fetch_add(chunk.len(), Ordering::Relaxed);
        }
        results
    };
    let mut results: Vec<(usize, Vec<R>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        report(&done, items.len());
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().flat_map(|(_, results)| results).collect()
}

/// The next chunk that no thread has taken.
fn take<'c, T>(next: &AtomicUsize, chunks: &[&'c [T]]) -> Option<(usize, &'c [T])> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    chunks.get(place).map(|chunk| (place, *chunk))
}

/// Shows progress until all items are done: on a terminal in one line, elsewhere a single line.
fn report(done: &AtomicUsize, all: usize) {
    let start = Instant::now();
    let is_terminal = io::stderr().is_terminal();
    let mut has_reported = false;
    while done.load(Ordering::Relaxed) < all {
        thread::sleep(Duration::from_millis(5));
        if start.elapsed() < SILENT || has_reported && !is_terminal {
            continue;
        }
        let so_far = done.load(Ordering::Relaxed);
        if is_terminal {
            let _ = write!(io::stderr(), "\rrehearsing {so_far} of {all} machines");
            thread::sleep(UPDATE);
        } else {
            output::print_error(format_args!("rehearsing {all} machines"));
        }
        has_reported = true;
    }
    if has_reported && is_terminal {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
