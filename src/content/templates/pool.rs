//! The threads that render templates, and the queue in front of them. `rendering.rs` submits the jobs.
//!
//! A template may take long, or a thousand machines may ask for it at once. Neither may block a thread that serves
//! clients, so each rendering waits here as a job, and its client is answered when the job is done.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::event::Refusal;

/// Stack size of a rendering thread in bytes. Minijinja's parser recurses, and so does the release of the parsed tree
/// (`bounds.rs`). Untouched pages cost nothing.
pub(super) const STACK: usize = 64 << 20;
/// Maximum number of concurrent renderings. Each may use 64 MiB for strings (`FUEL`).
const MAX_RUNNING: usize = 3;
/// Maximum number of concurrent renderings of one template, so that a slow one leaves a thread to others.
const MAX_OF_ONE: usize = 2;
/// A template whose last rendering took this long is slow. All slow templates together leave one thread to the others.
const SLOW: Duration = Duration::from_millis(200);
/// Maximum number of templates whose rendering time is remembered. When it is reached, all are forgotten.
const MAX_REMEMBERED: usize = 1024;
/// Maximum number of waiting renderings: one per machine that TFTP serves at the same time.
const MAX_WAITING: usize = 4096;
/// Maximum time in the queue. Clients repeat their request or give up earlier.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The rendered text, or the reason why there is none.
type Rendered = Result<String, Refusal>;

/// One rendering to be done.
struct Job {
    template: String,
    until: Instant,
    work: Box<dyn FnOnce() -> Rendered + Send>,
    done: Box<dyn FnOnce(Rendered) + Send>,
}

/// The rendering threads. They end when no job waits. Cheap to clone; clones share the threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// The templates that are being rendered now.
    running: Vec<String>,
    /// The duration of the last rendering of each template.
    took: BTreeMap<String, Duration>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting.len()).field("running", &self.running).finish()
    }
}

impl Queue {
    /// The expected duration of a rendering of `template`: that of the last one, or zero.
    fn expected(&self, template: &str) -> Duration {
        self.took.get(template).copied().unwrap_or_default()
    }

    fn may_run(&self, template: &str) -> bool {
        let of_one = self.running.iter().filter(|running| *running == template).count();
        let slow = self.running.iter().filter(|running| self.expected(running) >= SLOW).count();
        let is_quick = self.expected(template) < SLOW;
        self.running.len() < MAX_RUNNING && of_one < MAX_OF_ONE && (is_quick || slow + 1 < MAX_RUNNING)
    }

    /// Takes the quickest job that may run now, the first of several, and counts it as running. A slow template
    /// therefore never delays a quick one, however many clients ask for it.
    fn take(&mut self) -> Option<Job> {
        let waiting = self.waiting.iter().enumerate().filter(|(_, job)| self.may_run(&job.template));
        let (index, _) = waiting.min_by_key(|(_, job)| self.expected(&job.template))?;
        let job = self.waiting.remove(index)?;
        self.running.push(job.template.clone());
        Some(job)
    }

    /// Records that a rendering of `template` has ended.
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
    /// Runs `work`, which renders `template`, in a thread. The thread then calls `done` with the result, exactly once.
    /// `done` gets [`Refusal::RenderQueue`] if the queue is full or no thread can be started.
    pub(super) fn run(
        &self,
        template: &str,
        work: impl FnOnce() -> Rendered + Send + 'static,
        done: impl FnOnce(Rendered) + Send + 'static,
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

    /// Starts a thread that does `job`, and then the waiting jobs.
    fn start(&self, job: Job) {
        let pool = self.clone();
        // The job stays available here if the thread cannot be started.
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

    /// Takes the next job after one of `template` is done.
    fn next_after(&self, template: &str, took: Option<Duration>) -> Option<Job> {
        let mut queue = self.queue();
        queue.ended(template, took);
        queue.take()
    }
}

/// Does a job, unless it has waited too long, and returns how long it took.
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
    // A panic in `done` must not end this thread.
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
    fn blocked(pool: &Pool, template: &str) -> (mpsc::Sender<()>, mpsc::Receiver<Rendered>) {
        let (open, gate) = mpsc::channel::<()>();
        let (sender, made) = mpsc::channel();
        let work = move || {
            let _ = gate.recv();
            Ok("made".to_owned())
        };
        pool.run(template, work, move |made| sender.send(made).unwrap());
        (open, made)
    }

    fn run(pool: &Pool, template: &str) -> mpsc::Receiver<Rendered> {
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
    fn s_08_all_slow_templates_together_leave_a_thread_free() {
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
    fn s_08_the_queue_is_bounded() {
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
    fn s_08_a_panic_ends_only_one_rendering() {
        let pool = Pool::default();
        let (sender, made) = mpsc::channel();
        pool.run("x", || panic!("a fault"), move |made| sender.send(made).unwrap());
        assert_eq!(made.recv_timeout(SOON).unwrap(), Err(Refusal::Template));
        for _ in 0..10 {
            assert_eq!(run(&pool, "x").recv_timeout(SOON).unwrap(), Ok("made".to_owned()));
        }
    }
}
