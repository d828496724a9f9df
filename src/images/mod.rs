//! The files of boot-images/: opened by name beneath the folder, never outside it.
