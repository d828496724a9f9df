//! The work of `lanboot images build`: takes the root file system of a machine without a disk from a folder or a tar
//! archive, and puts it into the images folder as a new build. Clients see a build complete or not at all. Nothing is
//! ever unpacked: files of the input get names that this folder chooses.

mod archive;
mod boot_files;
mod initrd;
pub mod interrupt;
mod kernel;
pub mod recipe;
mod squashfs;
mod version;
pub(super) mod work_folder;
