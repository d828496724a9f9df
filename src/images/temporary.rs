//! Names of files that are not complete yet. Such a file has a temporary name until it is renamed or linked to its
//! final name. Clients cannot request temporary names, because they begin with a dot.

/// Prefix of the temporary names of uploads.
pub(super) const UPLOAD_PREFIX: &str = ".lanboot-upload-";
/// Prefix of the temporary names of files that `lanboot images add` writes.
pub(super) const ADD_PREFIX: &str = ".lanboot-add-";
/// Prefix of the folders in which `lanboot images build` makes its builds.
pub(super) const BUILD_PREFIX: &str = ".lanboot-build-";

/// Whether `name` is a temporary name with this prefix.
pub(super) fn is_temporary(name: &[u8], prefix: &str) -> bool {
    name.starts_with(prefix.as_bytes())
}
