//! [`Disk`]: a disk in memory, which fails as a test wishes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use fanfare_core::history::Retention;

use crate::{Durability, OpenError, Redb};

/// A disk in memory.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    file: Arc<Mutex<File>>,
    /// It refuses to be written to.
    pub(super) is_full: Arc<AtomicBool>,
    /// It refuses to be read from.
    pub(super) is_unreadable: Arc<AtomicBool>,
    /// Whoever syncs waits.
    pub(super) is_held: Arc<AtomicBool>,
    /// How much of it the engine keeps in its own memory.
    cache: usize,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            file: Arc::default(),
            is_full: Arc::default(),
            is_unreadable: Arc::default(),
            is_held: Arc::default(),
            cache: 32 << 20,
        }
    }
}

/// What a file holds, and what of it would outlive the power.
#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync.
    writes: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Write {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length, 0),
            Self::Bytes(at, bytes) => {
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    /// One of which the engine keeps next to nothing, so that what it reads is read from here.
    pub(super) fn uncached() -> Self {
        Self {
            cache: 64 << 10,
            ..Self::default()
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().expect("not poisoned")
    }

    fn change(&self, write: Write) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = self.file();
        write.apply(&mut file.now);
        file.writes.push(write);
        Ok(())
    }

    /// The disk after a power failure: of what was not synced, each write is there, is torn, or is
    /// not.
    pub(super) fn after_power_failure(&self, random: &mut Random) -> Self {
        let file = self.file();
        let mut left = file.synced.clone();
        for write in &file.writes {
            match (random.below(3), write) {
                (0, _) => {}
                (1, Write::Bytes(at, bytes)) => {
                    let sectors = random.below(bytes.len() / 512 + 1);
                    Write::Bytes(*at, bytes[..sectors * 512].to_vec()).apply(&mut left);
                }
                _ => write.apply(&mut left),
            }
        }
        Self::of(left)
    }

    fn of(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.file().synced.clone_from(&bytes);
        disk.file().now = bytes;
        disk
    }

    /// What the file holds.
    pub(super) fn content(&self) -> Vec<u8> {
        self.file().now.clone()
    }

    /// Another file is there instead.
    pub(super) fn replace(&self, content: Vec<u8>) {
        let mut file = self.file();
        file.synced.clone_from(&content);
        file.now = content;
        file.writes.clear();
    }

    pub(super) fn open(&self, durability: Durability) -> Result<Redb, OpenError> {
        self.open_retaining(Retention::new().records(100_000), durability)
    }

    pub(super) fn open_retaining(
        &self,
        retention: Retention,
        durability: Durability,
    ) -> Result<Redb, OpenError> {
        let disk = self.clone();
        let open = move |_| {
            let mut builder = redb::Builder::new();
            builder
                .set_cache_size(disk.cache)
                .create_with_backend(disk.clone())
        };
        let builder = Redb::builder("a disk in memory").retention(retention);
        builder.durability(durability).open_with(Box::new(open))
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("it cannot be read"));
        }
        let at = usize::try_from(offset).expect("fits");
        let file = self.file();
        let bytes = file.now.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Write::Length(usize::try_from(len).expect("fits")))
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.is_held.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = self.file();
        let File { synced, writes, .. } = &mut *file;
        for write in writes.drain(..) {
            write.apply(synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("fits");
        self.change(Write::Bytes(at, data.to_vec()))
    }
}

/// The same numbers in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}
