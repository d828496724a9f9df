//! Delayed replies. A few clients, such as the Raspberry Pi 3, cannot receive for a while after their request. The DHCP
//! loop and the proxy give such replies to one thread here, so that neither of them ever waits.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::event::DropReason;
use crate::record::Recorder;
use crate::server::dhcp::deliver::DelayedReply;

/// Maximum number of delayed replies. A reply beyond that is dropped; its client asks again.
pub const MAX_WAITING: usize = 256;

/// The queue of the thread that sends delayed replies. Clones share the thread.
#[derive(Clone, Debug)]
pub struct DelayedSender {
    queue: SyncSender<(Instant, DelayedReply)>,
    recorder: Recorder,
}

impl DelayedSender {
    /// Starts the thread. It ends when the last clone is dropped and the queue is empty.
    pub fn start(recorder: Recorder) -> io::Result<DelayedSender> {
        let (queue, waiting) = sync_channel(MAX_WAITING);
        let records = recorder.clone();
        thread::Builder::new().name("dhcp-delayed".to_owned()).spawn(move || work(&waiting, &records))?;
        Ok(DelayedSender { queue, recorder })
    }

    /// Sends `reply` after `wait`; a zero wait sends it immediately. All nonzero waits must be equal, because the
    /// thread sends in the order of the queue.
    pub fn send(&self, reply: DelayedReply, wait: Duration) {
        if wait.is_zero() {
            return reply.send(&self.recorder);
        }
        if let Err(refused) = self.queue.try_send((Instant::now() + wait, reply)) {
            let (std::sync::mpsc::TrySendError::Full((_, reply))
            | std::sync::mpsc::TrySendError::Disconnected((_, reply))) = refused;
            self.recorder.record_now(reply.record.dropped(DropReason::Overload));
        }
    }
}

fn work(waiting: &Receiver<(Instant, DelayedReply)>, recorder: &Recorder) {
    for (due, reply) in waiting {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        reply.send(recorder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::route::Route;
    use crate::event::{Client, Context, Event, Message};
    use crate::net::datagram::Outgoing;
    use crate::net::udp::{DhcpSocket, Sharing};
    use crate::server::dhcp::deliver::Sender;
    use crate::types::{Firmware, Timestamp};
    use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
    use std::sync::Arc;

    #[test]
    fn delayed_replies_are_limited_and_delay_no_other() {
        const WAIT: Duration = Duration::from_secs(2);
        let socket = DhcpSocket::bind(0, "dhcp.ports.server", Sharing::Alone).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, client.local_addr().unwrap().port());
        let sender = Sender::Udp(Arc::new(socket));
        let reply = |text: &[u8]| DelayedReply {
            sender: sender.clone(),
            reply: Outgoing {
                payload: text.to_vec(),
                route: Route::Unicast(to),
                interface: 1,
                server: Ipv4Addr::LOCALHOST,
                received: Instant::now(),
            },
            record: Context::unknown(Timestamp(0), "lo".into()).record(Event::Answered {
                message: Message::Offer,
                address: Ipv4Addr::LOCALHOST,
                client: Client { firmware: Firmware::RaspberryPi3, arch: None },
                file: None,
                note: None,
            }),
        };
        let recorder = Recorder::default();
        let delayed = DelayedSender::start(recorder.clone()).unwrap();
        let begun = Instant::now();
        // The thread takes one reply out of the queue, so one more fits.
        let more = 3;
        for _ in 0..MAX_WAITING + 1 + more {
            delayed.send(reply(b"late"), WAIT);
        }
        delayed.send(reply(b"now"), Duration::ZERO);
        let mut bytes = [0; 16];
        let received = client.recv(&mut bytes).map(|len| bytes[..len].to_vec()).unwrap();
        assert_eq!((&received[..], begun.elapsed() < WAIT), (&b"now"[..], true));
        let dropped: u64 = recorder.drops().iter().map(|(_, count)| count).sum();
        assert!((more as u64..=more as u64 + 1).contains(&dropped), "{:?}", recorder.drops());
        assert_eq!(recorder.drops()[0].0, DropReason::Overload.name());
        let len = client.recv(&mut bytes).unwrap();
        assert_eq!((&bytes[..len], begun.elapsed() >= WAIT), (&b"late"[..], true));
    }
}
