//! The folder of uploaded images, and the number of uploads. `uploads.rs` stores images in it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::images::upload_limits::{MAX_FILES, UploadLimits};
use crate::images::{UPLOADED, UploadFolder};
use crate::store::create_state_folder;

/// Maximum number of uploads at a time.
const MAX_UPLOADS: usize = 4;

/// The folder of uploaded images, once there was an upload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ImageUploads {
    folder: Arc<Mutex<Option<UploadFolder>>>,
    running: Arc<Semaphore>,
}

impl Default for ImageUploads {
    fn default() -> ImageUploads {
        ImageUploads { folder: Arc::default(), running: Arc::new(Semaphore::new(MAX_UPLOADS)) }
    }
}

impl ImageUploads {
    /// The right to one upload, as long as it exists; `None` if too many are running.
    pub(super) fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.running).try_acquire_owned().ok()
    }

    /// The folder in the state folder `state`. Creates it if it is missing. Blocks.
    pub(super) fn open(&self, state: &Path) -> io::Result<UploadFolder> {
        let mut opened = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*opened {
            return Ok(folder.clone());
        }
        let path = state.join(UPLOADED);
        create_state_folder(&path)?;
        // A person with the token uploads, so only the size of one file is limited, and that by this route.
        let limits = UploadLimits { bytes: u64::MAX, files: MAX_FILES, bytes_of_one_file: u64::MAX };
        let folder = UploadFolder::open(&path, limits)?;
        *opened = Some(folder.clone());
        Ok(folder)
    }
}
