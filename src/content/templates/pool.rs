//! The threads that templates are rendered in, and the queue before them.
//!
//! A template may take long or be asked for by a thousand machines at once, and neither may hold up a thread that
//! serves. So each rendering is a job: it waits here, for a while, and its client is answered when it is done.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::event::Refusal;

/// Bytes of stack of a thread that renders. The parser and the release of what it built recurse (`bounds.rs`). Pages
/// that are not touched cost nothing.
pub(super) const STACK: usize = 64 << 20;
/// Renderings at a time. Each may take 64 MiB of texts (`FUEL`).
const MAX_RUNNING: usize = 3;
/// Renderings of one template at a time, so that one that takes long leaves a thread to others.
const MAX_OF_ONE: usize = 2;
/// A template whose last rendering took as long is slow. The slow ones leave a thread to the others, all together.
const SLOW: Duration = Duration::from_millis(200);
/// Templates of which it is remembered how long they take. Beyond that all are forgotten.
const MAX_REMEMBERED: usize = 1024;
/// Renderings that wait: one for each of as many machines as TFTP serves at a time.
const MAX_WAITING: usize = 4096;
/// Time that a rendering may wait for its turn. Clients ask again or give up before.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The text made from a template, or the reason why there is none.
type Made = Result<String, Refusal>;

/// A rendering.
struct Job {
    template: String,
    until: Instant,
    work: Box<dyn FnOnce() -> Made + Send>,
    done: Box<dyn FnOnce(Made) + Send>,
}

/// Renders in threads. Cheap to clone; clones share the threads, which end when nothing waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// The templates that are being rendered.
    running: Vec<String>,
    /// Time that the last rendering of each template took.
    took: BTreeMap<String, Duration>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting.len()).field("running", &self.running).finish()
    }
}

impl Queue {
    /// Time that a rendering of `template` takes: that of the last one, or zero.
    fn expected(&self, template: &str) -> Duration {
        self.took.get(template).copied().unwrap_or_default()
    }

    fn may_run(&self, template: &str) -> bool {
        let of_one = self.running.iter().filter(|running| *running == template).count();
        let slow = self.running.iter().filter(|running| self.expected(running) >= SLOW).count();
        let is_quick = self.expected(template) < SLOW;
        self.running.len() < MAX_RUNNING && of_one < MAX_OF_ONE && (is_quick || slow + 1 < MAX_RUNNING)
    }

    /// The job that may run now and takes the least time; of several, the first. From then on it counts as running. So a
    /// template that takes long delays none that does not, however many clients ask for it.
    fn take(&mut self) -> Option<Job> {
        let waiting = self.waiting.iter().enumerate().filter(|(_, job)| self.may_run(&job.template));
        let (index, _) = waiting.min_by_key(|(_, job)| self.expected(&job.template))?;
        let job = self.waiting.remove(index)?;
        self.running.push(job.template.clone());
        Some(job)
    }

    /// A rendering of `template` is over.
    fn ended(&mut self, template: &str, took: Option<Duration>) {
        if let Some(index) = self.running.iter().position(|running| running == template) {
            self.running.swap_remove(index);
        }
        let Some(took) = took else { return };
        if self.took.len() >= MAX_REMEMBERED {
            self.took.clear();
        }
        self.took.insert(template.to_owned(), took);
    }
}

impl Pool {
    /// Has `work` done in a thread, which then calls `done` with what it made, once in any case. `work` renders
    /// `template`. Where too many wait, or none of them gets a thread, `done` gets [`Refusal::RenderQueue`].
    pub(super) fn run(
        &self,
        template: &str,
        work: impl FnOnce() -> Made + Send + 'static,
        done: impl FnOnce(Made) + Send + 'static,
    ) {
        let until = Instant::now() + MAX_WAIT;
        let job = Job { template: template.to_owned(), until, work: Box::new(work), done: Box::new(done) };
        let mut queue = self.queue();
        if queue.waiting.len() >= MAX_WAITING {
            drop(queue);
            return (job.done)(Err(Refusal::RenderQueue));
        }
        let may_run = queue.may_run(template);
        queue.waiting.push_back(job);
        let next = if may_run { queue.take() } else { None };
        drop(queue);
        if let Some(job) = next {
            self.start(job);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that does `job`, and then those that wait.
    fn start(&self, job: Job) {
        let pool = self.clone();
        // The job stays here if there is no thread.
        let handed = Arc::new(Mutex::new(Some(job)));
        let taken = Arc::clone(&handed);
        let work = move || {
            let mut next = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            while let Some(job) = next {
                let template = job.template.clone();
                let took = finish(job);
                next = pool.next_after(&template, took);
            }
        };
        let thread = thread::Builder::new().name("render".to_owned()).stack_size(STACK).spawn(work);
        if let Err(error) = thread {
            tracing::error!("cannot render a template: there is no thread for it: {error}");
            let Some(job) = handed.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            let mut waiting = VecDeque::new();
            {
                let mut queue = self.queue();
                queue.ended(&job.template, None);
                if queue.running.is_empty() {
                    waiting = std::mem::take(&mut queue.waiting);
                }
            }
            waiting.push_front(job);
            waiting.into_iter().for_each(|job| (job.done)(Err(Refusal::RenderQueue)));
        }
    }

    /// Takes the next job when one of `template` is done.
    fn next_after(&self, template: &str, took: Option<Duration>) -> Option<Job> {
        let mut queue = self.queue();
        queue.ended(template, took);
        queue.take()
    }
}

/// Does a job, unless it has waited too long, and returns the time that it took.
fn finish(job: Job) -> Option<Duration> {
    let Job { template, until, work, done } = job;
    let began = Instant::now();
    let is_late = began > until;
    let made = if is_late {
        Err(Refusal::RenderQueue)
    } else {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            tracing::error!(
                "a fault in lanboot ended the rendering of {template}: please report it with the template"
            );
            Err(Refusal::Template)
        })
    };
    let took = (!is_late).then(|| began.elapsed());
    // A fault while the answer is passed on must not end this thread.
    if catch_unwind(AssertUnwindSafe(|| done(made))).is_err() {
        tracing::error!("a fault in lanboot lost the answer to a request for {template}");
    }
    took
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Blocks a job until it is dropped.
    fn blocked(pool: &Pool, template: &str) -> (mpsc::Sender<()>, mpsc::Receiver<Made>) {
        let (open, gate) = mpsc::channel::<()>();
        let (sender, made) = mpsc::channel();
        let work = move || {
            let _ = gate.recv();
            Ok("made".to_owned())
        };
        pool.run(template, work, move |made| sender.send(made).unwrap());
        (open, made)
    }

    fn run(pool: &Pool, template: &str) -> mpsc::Receiver<Made> {
        let (sender, made) = mpsc::channel();
        pool.run(template, || Ok("made".to_owned()), move |made| _ = sender.send(made));
        made
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn s_08_one_template_leaves_a_thread_to_others() {
        let pool = Pool::default();
        let slow: Vec<_> = (0..10).map(|_| blocked(&pool, "slow")).collect();
        for _ in 0..100 {
            assert_eq!(run(&pool, "other").recv_timeout(SOON).unwrap(), Ok("made".to_owned()));
        }
        for (open, made) in slow {
            drop(open);
            assert_eq!(made.recv_timeout(SOON).unwrap(), Ok("made".to_owned()));
        }
    }

    #[test]
    fn s_08_slow_templates_leave_a_thread_to_others_all_together() {
        let pool = Pool::default();
        for name in ["a", "b", "c", "d"] {
            pool.queue().took.insert(name.to_owned(), SLOW);
        }
        let slow: Vec<_> = ["a", "b", "c", "d", "a", "b", "c", "d"].map(|name| blocked(&pool, name)).into();
        for _ in 0..100 {
            assert_eq!(run(&pool, "other").recv_timeout(SOON).unwrap(), Ok("made".to_owned()));
        }
        for (open, _) in &slow {
            let _ = open.send(());
        }
        for (_, made) in slow {
            assert_eq!(made.recv_timeout(SOON).unwrap(), Ok("made".to_owned()));
        }
    }

    #[test]
    fn s_08_what_waits_is_bounded() {
        let pool = Pool::default();
        let slow: Vec<_> = (0..MAX_OF_ONE).map(|_| blocked(&pool, "slow")).collect();
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| run(&pool, "slow")).collect();
        assert_eq!(run(&pool, "slow").recv_timeout(SOON).unwrap(), Err(Refusal::RenderQueue));
        drop(slow);
        for made in waiting {
            assert!(made.recv_timeout(SOON).is_ok());
        }
        let queue = pool.queue();
        assert!(queue.waiting.is_empty(), "{queue:?}");
    }

    #[test]
    fn s_08_a_fault_ends_one_rendering_and_no_more() {
        let pool = Pool::default();
        let (sender, made) = mpsc::channel();
        pool.run("x", || panic!("a fault"), move |made| sender.send(made).unwrap());
        assert_eq!(made.recv_timeout(SOON).unwrap(), Err(Refusal::Template));
        for _ in 0..10 {
            assert_eq!(run(&pool, "x").recv_timeout(SOON).unwrap(), Ok("made".to_owned()));
        }
    }
}
