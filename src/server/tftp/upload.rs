//! Uploads over TFTP, for servers with `tftp.uploads`. They are small and rare, so each has its own thread, which
//! writes and syncs the file without delaying other clients. `native/request.rs` starts them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::boot::name::BootName;
use crate::config;
use crate::event::{Event, Refusal, Reporter, ServerFact};
use crate::images::upload_limits::UploadLimits;
use crate::images::{UploadFile, UploadFolder};
use crate::server::tftp::upload_slots::{UploadSlot, UploadSlots};
use crate::tftp::upload::{End, Input, Step, Terms, Upload};
use crate::wire::tftp::{DATA_HEADER, Packet, Request};

/// Maximum number of threads. This includes uploads that are stored, but wait in case their last acknowledgement was
/// lost.
const MAX_THREADS: usize = 256;
/// The shortest timeout that a socket supports.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// The longest wait, so that an upload soon notices that the server stops.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// The folder for uploads and its limits. Cheap to clone; clones share the limits.
#[derive(Clone, Debug)]
pub struct Uploads {
    folder: UploadFolder,
    max_size: u64,
    slots: UploadSlots,
    threads: Arc<Threads>,
}

/// The uploads as the settings say now; `None` if they are off. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct CurrentUploads(Arc<Mutex<Option<Uploads>>>);

impl CurrentUploads {
    pub fn new(uploads: Option<Uploads>) -> CurrentUploads {
        CurrentUploads(Arc::new(Mutex::new(uploads)))
    }

    pub fn get(&self) -> Option<Uploads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Grants new uploads by `uploads` from now on. Returns the one of before, whose uploads continue.
    pub fn replace(&self, uploads: Option<Uploads>) -> Option<Uploads> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), uploads)
    }
}

#[derive(Debug, Default)]
struct Threads {
    stopping: AtomicBool,
    /// Running threads, and some that have ended.
    started: Mutex<Vec<JoinHandle<()>>>,
}

/// An upload that is granted but not answered yet.
#[derive(Debug)]
pub struct Granted {
    upload: Upload,
    first: Step,
    /// `None` once the file has its final name, or is discarded.
    file: Option<UploadFile>,
    name: String,
    peer: SocketAddr,
    block_size: u16,
    /// `None` once the file is stored.
    slot: Option<UploadSlot>,
    threads: Arc<Threads>,
    /// The request that started the upload.
    request: Box<[u8]>,
    /// The client's next request, if it arrived at the socket of this upload.
    next_request: Option<Box<[u8]>>,
}

impl Uploads {
    /// Opens the upload folder. Fails as [`UploadFolder::open`] does.
    pub fn open(settings: &config::Uploads) -> io::Result<Uploads> {
        let config::Uploads { dir, max_size, max_total, max_files } = settings;
        let limits = UploadLimits { bytes: *max_total, files: *max_files, bytes_of_one_file: *max_size };
        let folder = UploadFolder::open(dir, limits)?;
        let (slots, threads) = (UploadSlots::default(), Arc::default());
        Ok(Uploads { folder, max_size: *max_size, slots, threads })
    }

    /// Reports a full folder and faults of threads to `reporter`.
    pub fn report_to(&self, reporter: Reporter) {
        self.folder.reports().connect(reporter);
    }

    /// Grants the write request that `peer` sent as `datagram`, without sending anything. `block_size` is the largest
    /// that the path to the client carries ([`crate::tftp::Limits::block_size_for`]).
    ///
    /// # Errors
    /// [`Refusal::Busy`] at the limits, [`Refusal::TooLarge`] if the client announces too many bytes,
    /// [`Refusal::BadName`], and the errors of [`UploadFolder::create`].
    pub fn grant(
        &self,
        request: &Request<'_>,
        datagram: &[u8],
        peer: SocketAddr,
        block_size: u16,
    ) -> Result<Granted, Refusal> {
        let name = BootName::parse(request.name).map_err(|_| Refusal::BadName)?;
        if self.threads.running() >= MAX_THREADS {
            return Err(Refusal::Busy);
        }
        let slot = Some(self.slots.take(peer.ip(), Instant::now()).ok_or(Refusal::Busy)?);
        let terms = Terms { block_size, max_size: self.max_size };
        let (upload, first) = Upload::start(request, terms, Duration::ZERO)?;
        let file = Some(self.folder.create(&name, peer.ip())?);
        let (name, threads) = (name.as_str().to_owned(), Arc::clone(&self.threads));
        let request = datagram.into();
        Ok(Granted {
            upload,
            first,
            file,
            name,
            peer,
            block_size,
            slot,
            threads,
            request,
            next_request: None,
        })
    }

    /// Ends all uploads, each with its event, and waits for their threads.
    pub fn stop(&self) {
        self.threads.stopping.store(true, Ordering::Release);
        for thread in std::mem::take(&mut *self.threads.started()) {
            if thread.join().is_err() {
                let text = "the thread of a TFTP upload ended by a fault in lanboot";
                self.folder.reports().report(ServerFact::ThreadFailed, text);
            }
        }
    }
}

impl Threads {
    fn started(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> usize {
        let mut started = self.started();
        started.retain(|thread| !thread.is_finished());
        started.len()
    }
}

impl Granted {
    /// Receives the file in a new thread. `socket` is connected to the client, sends from the address that received the
    /// request, and blocks. `record` is called for each event.
    ///
    /// With a single port, `socket` also receives the client's next request from the same port. The upload then ends,
    /// and `ask` is called with that request after everything else of the upload, including `record`, has been dropped.
    ///
    /// Fails if no thread can be started; the upload is then discarded.
    pub fn receive(
        self,
        socket: UdpSocket,
        record: impl Fn(Event) + Send + 'static,
        ask: impl FnOnce(Box<[u8]>) + Send + 'static,
    ) -> io::Result<()> {
        let threads = Arc::clone(&self.threads);
        self.slot.iter().for_each(|slot| slot.set_socket(&socket));
        let work = move || {
            let next_request = self.run(socket, &record);
            drop(record);
            if let Some(request) = next_request {
                ask(request);
            }
        };
        let thread = std::thread::Builder::new().name("tftp-upload".to_owned()).spawn(work)?;
        let mut started = threads.started();
        started.retain(|thread| !thread.is_finished());
        started.push(thread);
        Ok(())
    }

    /// Runs the upload. Returns the client's next request; by then the port is free, and an incomplete file is deleted.
    fn run(mut self, socket: UdpSocket, record: &impl Fn(Event)) -> Option<Box<[u8]>> {
        let began = Instant::now();
        // One byte more than negotiated, to detect a larger block.
        let mut datagram = vec![0; DATA_HEADER + usize::from(self.block_size.max(512)) + 1];
        let mut step = self.first.clone();
        let end = loop {
            step = match step {
                Step::Send(answer) => {
                    // A lost packet is sent again later.
                    let _ = socket.send(&answer);
                    self.next(&socket, &mut datagram, began)
                }
                Step::Wait => self.next(&socket, &mut datagram, began),
                Step::Store { data, last } => {
                    self.slot.iter().for_each(|slot| slot.record_block(Instant::now()));
                    let stored = self.store(&data, last);
                    if last && stored.is_ok() {
                        self.slot = None;
                        let (file, bytes) = (self.name.clone(), self.upload.bytes());
                        record(Event::TftpReceived { file, peer: self.peer, bytes, took: began.elapsed() });
                    }
                    self.upload.handle(Input::Stored(stored), began.elapsed())
                }
                Step::End { end, reply } => {
                    if let Some(reply) = reply {
                        let _ = socket.send(&reply);
                    }
                    break end;
                }
            };
        };
        drop(self.file);
        let (file, peer, bytes) = (self.name, self.peer, self.upload.bytes());
        match end {
            // This was recorded when the file was stored.
            End::Received => {}
            End::Refused(reason) => record(Event::TftpRefused { name: file, peer, reason }),
            End::Stopped(why) => record(Event::TftpUploadStopped { file, peer, bytes, why }),
        }
        drop(self.slot);
        self.next_request
    }

    /// Waits for the next input, and returns the step that follows.
    fn next(&mut self, socket: &UdpSocket, datagram: &mut [u8], began: Instant) -> Step {
        if self.threads.stopping.load(Ordering::Acquire) {
            return self.upload.handle(Input::ServerStops, began.elapsed());
        }
        if self.slot.as_ref().is_some_and(UploadSlot::is_evicted) {
            return self.upload.handle(Input::GivesWay, began.elapsed());
        }
        let until = self.upload.deadline().saturating_sub(began.elapsed());
        let wait = until.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        let received = socket.set_read_timeout(Some(wait)).and_then(|()| socket.recv(datagram));
        let now = began.elapsed();
        match received {
            Ok(len) => match Packet::decode(&datagram[..len]) {
                // A datagram that fills the buffer may have been truncated.
                Ok(Packet::Rrq(_) | Packet::Wrq(_))
                    if len < datagram.len() && datagram[..len] != *self.request =>
                {
                    self.next_request = Some(datagram[..len].into());
                    self.upload.handle(Input::Replaced, now)
                }
                Ok(packet) => self.upload.handle(Input::Packet(&packet), now),
                Err(_) => Step::Wait,
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                self.upload.handle(Input::Timeout, now)
            }
            Err(_) => self.upload.handle(Input::Unreachable, now),
        }
    }

    fn store(&mut self, data: &[u8], last: bool) -> Result<(), Refusal> {
        self.file.as_mut().ok_or(Refusal::Io)?.append(data)?;
        if last { self.file.take().ok_or(Refusal::Io)?.publish() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UploadStop;
    use crate::server::tftp::upload_slots::{MAX_OF_ONE, MAX_UPLOADS};
    use crate::wire::tftp::{ErrorCode, Mode, Options};
    use std::fs;
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    /// A folder for uploads, and a client.
    struct Bench {
        base: tempfile::TempDir,
        uploads: Uploads,
        client: UdpSocket,
        events: (std::sync::mpsc::Sender<Event>, Receiver<Event>),
    }

    impl Bench {
        fn new() -> Bench {
            let base = tempfile::tempdir().unwrap();
            let dir = base.path().to_owned();
            let settings = config::Uploads { dir, max_size: 5000, max_total: 20_000, max_files: 100 };
            let uploads = Uploads::open(&settings).unwrap();
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            Bench { base, uploads, client, events: channel() }
        }

        fn grant(&self, name: &str, options: Options) -> Result<Granted, Refusal> {
            let peer = self.client.local_addr().unwrap();
            let request = Request { name: name.as_bytes(), mode: Mode::Octet, options };
            self.uploads.grant(&request, &Packet::Wrq(request).encode(), peer, 1468)
        }

        /// Starts an upload, and returns its first answer.
        fn begin(&self, name: &str, options: Options) -> Vec<u8> {
            let granted = self.grant(name, options).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.connect(granted.peer).unwrap();
            self.client.connect(socket.local_addr().unwrap()).unwrap();
            let events = self.events.0.clone();
            let next_request = |request| panic!("{request:?}");
            granted.receive(socket, move |event| events.send(event).unwrap(), next_request).unwrap();
            self.answer()
        }

        fn answer(&self) -> Vec<u8> {
            let mut buf = [0; 600];
            let len = self.client.recv(&mut buf).expect("an answer");
            buf[..len].to_vec()
        }

        fn put(&self, packet: Packet<'_>) -> Vec<u8> {
            self.client.send(&packet.encode()).unwrap();
            self.answer()
        }

        fn event(&self) -> Event {
            self.events.1.recv_timeout(Duration::from_secs(10)).expect("an event")
        }

        fn is_empty(&self) -> bool {
            let left = |path: &Path| fs::read_dir(path).unwrap().count();
            // The thread records its result just before it ends.
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.uploads.slots.count() > 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            left(self.base.path()) == 0
        }
    }

    #[test]
    fn a_file_is_stored_before_its_last_block_is_acknowledged() {
        let bench = Bench::new();
        let asked = Options { block_size: Some(1024), transfer_size: Some(1500), ..Options::default() };
        assert_eq!(bench.begin("new", asked), Packet::OAck(asked).encode());
        assert_eq!(bench.put(Packet::Data { block: 1, data: &[1; 1024] }), Packet::Ack(1).encode());
        assert!(!bench.base.path().join("new").exists());
        let last = Packet::Data { block: 2, data: &[2; 476] };
        assert_eq!(bench.put(last), Packet::Ack(2).encode());
        assert_eq!(fs::read(bench.base.path().join("new")).unwrap(), [vec![1; 1024], vec![2; 476]].concat());
        let event = bench.event();
        assert!(
            matches!(&event, Event::TftpReceived { file, bytes: 1500, .. } if file == "new"),
            "{event:?}"
        );
        assert_eq!(
            bench.put(last),
            Packet::Ack(2).encode(),
            "the acknowledgement is repeated if it was lost"
        );
    }

    #[test]
    fn an_aborted_upload_leaves_nothing() {
        let bench = Bench::new();
        bench.begin("new", Options::default());
        bench.put(Packet::Data { block: 1, data: &[1; 512] });
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"bye" };
        bench.client.send(&error.encode()).unwrap();
        let event = bench.event();
        let stopped =
            |event| matches!(event, Event::TftpUploadStopped { bytes: 512, why: UploadStop::Client, .. });
        assert!(stopped(event));
        assert!(bench.is_empty());
    }

    #[test]
    fn uploads_end_with_an_error_when_the_server_stops() {
        let bench = Bench::new();
        bench.begin("half", Options::default());
        bench.put(Packet::Data { block: 1, data: &[1; 512] });
        bench.uploads.stop();
        let event = bench.event();
        let why = UploadStop::ServerStops;
        assert!(
            matches!(event, Event::TftpUploadStopped { bytes: 512, why: w, .. } if w == why),
            "{event:?}"
        );
        let error = Packet::Error { code: ErrorCode::UNDEFINED, message: b"The server stops" };
        assert_eq!(bench.answer(), error.encode());
        assert_eq!(fs::read_dir(bench.base.path()).unwrap().count(), 0, "at once");
    }

    #[test]
    fn a_stored_upload_is_complete_when_the_server_stops() {
        let bench = Bench::new();
        bench.begin("whole", Options::default());
        assert_eq!(bench.put(Packet::Data { block: 1, data: &[1; 5] }), Packet::Ack(1).encode());
        let began = Instant::now();
        bench.uploads.stop();
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "the server does not wait for a lost acknowledgement"
        );
        assert!(matches!(bench.event(), Event::TftpReceived { bytes: 5, .. }));
        assert!(bench.events.1.try_recv().is_err(), "there is no other event");
        assert_eq!(fs::read(bench.base.path().join("whole")).unwrap(), [1; 5]);
    }

    #[test]
    fn a_too_large_file_leaves_nothing() {
        let bench = Bench::new();
        let options = Options { transfer_size: Some(5001), ..Options::default() };
        assert_eq!(bench.grant("new", options).unwrap_err(), Refusal::TooLarge);
        bench.begin("new", Options::default());
        for block in 1..=9 {
            assert_eq!(bench.put(Packet::Data { block, data: &[1; 512] }), Packet::Ack(block).encode());
        }
        let refused = bench.put(Packet::Data { block: 10, data: &[1; 512] });
        assert!(matches!(Packet::decode(&refused), Ok(Packet::Error { code: ErrorCode::DISK_FULL, .. })));
        let event = bench.event();
        assert!(matches!(event, Event::TftpRefused { reason: Refusal::TooLarge, .. }), "{event:?}");
        assert!(bench.is_empty());
    }

    #[test]
    fn a_block_larger_than_negotiated_is_detected() {
        let bench = Bench::new();
        bench.begin("new", Options { block_size: Some(1468), ..Options::default() });
        let refused = bench.put(Packet::Data { block: 1, data: &[1; 1500] });
        assert!(matches!(Packet::decode(&refused), Ok(Packet::Error { code: ErrorCode::ILLEGAL, .. })));
        assert!(bench.is_empty());
    }

    #[test]
    fn upload_names_are_strict_and_uploads_are_limited() {
        let bench = Bench::new();
        fs::write(bench.base.path().join("old"), "").unwrap();
        for (name, reason) in [
            ("../x", Refusal::BadName),
            (r"..\x", Refusal::BadName),
            ("", Refusal::BadName),
            ("old", Refusal::Exists),
            (r"\old", Refusal::Exists),
            ("none/x", Refusal::NotFound),
        ] {
            assert_eq!(bench.grant(name, Options::default()).unwrap_err(), reason, "{name}");
        }
        let mut granted: Vec<_> =
            (0..MAX_OF_ONE).map(|i| bench.grant(&format!("new{i}"), Options::default()).unwrap()).collect();
        granted.push(bench.grant("new", Options::default()).unwrap());
        assert_eq!(bench.uploads.slots.count(), MAX_OF_ONE, "the oldest was evicted");
    }

    /// Upload requests from forged addresses, for each of which the server would wait for seconds.
    #[test]
    fn s_11_forged_requests_block_no_upload() {
        let bench = Bench::new();
        let forged = |n: u8| {
            let request = Request { name: &[b'f', n], mode: Mode::Octet, options: Options::default() };
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            // A port without a client, which sends no error.
            let silent = UdpSocket::bind((Ipv4Addr::new(127, 0, 7, n), 0)).unwrap();
            socket.connect(silent.local_addr().unwrap()).unwrap();
            let peer = silent.local_addr().unwrap();
            let events = bench.events.0.clone();
            let granted = bench.uploads.grant(&request, &Packet::Wrq(request).encode(), peer, 1468).unwrap();
            granted.receive(socket, move |event| events.send(event).unwrap(), |_| {}).unwrap();
            silent
        };
        let _silent: Vec<UdpSocket> = (b'A'..b'A' + 40).map(forged).collect();
        assert_eq!(bench.uploads.slots.count(), MAX_UPLOADS);
        bench.begin("honest", Options::default());
        let evicted = |event| matches!(event, Event::TftpUploadStopped { why: UploadStop::Evicted, .. });
        assert!(evicted(bench.event()));
        assert_eq!(bench.put(Packet::Data { block: 1, data: b"x" }), Packet::Ack(1).encode());
        let began = Instant::now();
        while bench.uploads.threads.running() > MAX_UPLOADS + 1 {
            assert!(began.elapsed() < Duration::from_secs(5), "evicted uploads end");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(bench.uploads.slots.count(), MAX_UPLOADS - 1, "a stored upload has no slot");
        bench.uploads.stop();
        let left: Vec<_> =
            fs::read_dir(bench.base.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["honest"]);
    }

    #[test]
    fn s_11_the_upload_folder_is_limited() {
        let bench = Bench::new();
        for n in 0..2 {
            bench.begin(&format!("new{n}"), Options::default());
            for block in 1..=9 {
                let answer = bench.put(Packet::Data { block, data: &[1; 512] });
                assert_eq!(answer, Packet::Ack(block).encode());
            }
            bench.put(Packet::Data { block: 10, data: b"" });
        }
        bench.begin("third", Options::default());
        let last = (1..=9).find(|block| {
            let answer = bench.put(Packet::Data { block: *block, data: &[1; 512] });
            let refused =
                matches!(Packet::decode(&answer), Ok(Packet::Error { code: ErrorCode::DISK_FULL, .. }));
            refused || answer != Packet::Ack(*block).encode()
        });
        assert_eq!(last, Some(2), "half of 20,000 bytes are free, and 9,216 are used");
        let refused = |event| matches!(event, Event::TftpRefused { reason: Refusal::UploadsFull, .. });
        assert!((0..3).any(|_| refused(bench.event())));
        assert_eq!(fs::read_dir(bench.base.path()).unwrap().count(), 2);
    }
}
