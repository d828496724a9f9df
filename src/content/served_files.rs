//! The files of a server that may begin to serve files while it runs.

use std::sync::{Arc, OnceLock};

use crate::content::lookup::Files;

/// The files that a server serves. There are none while TFTP and HTTP have been off since the start; a reload may turn
/// them on. Cheap to clone; clones share the files.
#[derive(Clone, Debug, Default)]
pub struct ServedFiles(Arc<OnceLock<Files>>);

impl ServedFiles {
    pub fn get(&self) -> Option<&Files> {
        self.0.get()
    }

    /// Serves `files` from now on. Call it once.
    pub fn set(&self, files: Files) {
        // A second call would come from a reload that runs beside another one, and there is only one at a time.
        let _ = self.0.set(files);
    }
}
