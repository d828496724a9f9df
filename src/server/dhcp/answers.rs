//! Sends the replies to clients whose leases are stored. The committer calls it after each commit. Many replies are left
//! to a thread, so that the next commit does not wait until they are sent. It never decides whether to send.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::net::udp::DhcpSocket;
use crate::record::Recorder;
use crate::server::dhcp::deliver::{Delivery, deliver};

/// From this number on, replies are left to the thread. To send one takes the kernel 4 to 9 us, so the next commit would
/// wait 0.1 ms or more. Fewer replies leave sooner without the wake-up of a thread.
const MANY: usize = 16;

/// Batches that may wait for the thread. Then the committer waits too.
const MAX_WAITING_BATCHES: usize = 8;

/// Sends replies, either directly or by its thread.
#[derive(Debug)]
pub struct Answers {
    socket: Arc<DhcpSocket>,
    recorder: Recorder,
    queue: SyncSender<Vec<Delivery>>,
}

impl Answers {
    /// Starts the thread. It ends after the last reply, once the `Answers` are dropped.
    pub fn start(socket: Arc<DhcpSocket>, recorder: Recorder) -> io::Result<(Answers, JoinHandle<()>)> {
        let (queue, batches) = sync_channel(MAX_WAITING_BATCHES);
        let answers = Answers { socket: Arc::clone(&socket), recorder: recorder.clone(), queue };
        let thread = std::thread::Builder::new().name("dhcp-replies".to_owned());
        Ok((answers, thread.spawn(move || send_each(&batches, &socket, &recorder))?))
    }

    /// Sends `replies`. Two batches may overtake each other; each has the replies to different requests.
    pub fn send(&self, replies: Vec<Delivery>) {
        if replies.len() < MANY {
            return deliver(&self.socket, &self.recorder, replies);
        }
        // A thread that has ended by a fault must not keep clients waiting.
        if let Err(SendError(replies)) = self.queue.send(replies) {
            deliver(&self.socket, &self.recorder, replies);
        }
    }

    /// Records events without a reply.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

fn send_each(batches: &Receiver<Vec<Delivery>>, socket: &DhcpSocket, recorder: &Recorder) {
    batches.iter().for_each(|replies| deliver(socket, recorder, replies));
}
