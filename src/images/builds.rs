//! The builds of `lanboot images build` in the images folder. A build is a folder `NAME@TIME` with an image.json; the
//! link `NAME` leads to the newest one. `images list`, `images remove` and `check` use it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::boot::loader::root::{BUILD_SEPARATOR, DESCRIPTION, MAX_DESCRIPTION, RootImage, is_image_name};
use crate::images::build::work_folder::{point_to, remove_build, remove_leftovers};

/// Maximum number of entries of the images folder that are read.
const MAX_ENTRIES: usize = 100_000;

/// A build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The name of the image, such as `compute`.
    pub image: String,
    /// The name of the build, such as `compute@20261129T100000`.
    pub name: String,
    /// Whether the name of the image leads to this build.
    pub is_newest: bool,
    /// Size of all files in bytes.
    pub size: u64,
    /// The description, or the reason why it cannot be read.
    pub description: Result<RootImage, String>,
}

/// The name of the image of which `name` is a build; `None` if it is no name of a build.
pub fn image_of(name: &str) -> Option<&str> {
    let (image, time) = name.split_once(BUILD_SEPARATOR)?;
    let is_time = time.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !time.is_empty();
    (is_time && is_image_name(image)).then_some(image)
}

/// All builds in the images folder, by image and then the oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn all(images: &Path) -> Result<Vec<Build>, String> {
    let cannot = |error: std::io::Error| format!("cannot read the folder {}: {error}", images.display());
    let mut builds = Vec::new();
    for entry in fs::read_dir(images).map_err(cannot)?.take(MAX_ENTRIES) {
        let entry = entry.map_err(cannot)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(image) = image_of(&name).map(str::to_owned) else { continue };
        if !entry.file_type().map_err(cannot)?.is_dir() {
            continue;
        }
        let is_newest = fs::read_link(images.join(&image)).is_ok_and(|target| target == Path::new(&name));
        let description = read_description(&entry.path().join(DESCRIPTION));
        builds.push(Build { size: size_of(&entry.path()), image, name, is_newest, description });
    }
    builds.sort_by(|a, b| (&a.image, &a.name).cmp(&(&b.image, &b.name)));
    Ok(builds)
}

/// Removes `builds` of one image. If the newest is among them, the name of the image leads to the newest of `others`
/// afterwards, or is removed.
///
/// # Errors
/// A folder cannot be written. Builds that were removed before stay removed.
pub fn remove(images: &Path, builds: &[&Build], others: &[&Build]) -> Result<(), String> {
    let newest = builds.iter().find(|build| build.is_newest);
    if let Some(newest) = newest {
        match others.last() {
            Some(next) => point_to(images, &next.image, &next.name)?,
            None => {
                let link = images.join(&newest.image);
                fs::remove_file(&link)
                    .map_err(|error| format!("cannot remove {}: {error}", link.display()))?;
            }
        }
    }
    for build in builds {
        remove_build(images, &build.name)?;
    }
    remove_leftovers(images);
    Ok(())
}

/// Reads image.json at `path`.
fn read_description(path: &Path) -> Result<RootImage, String> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_DESCRIPTION).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: std::io::Error| format!("cannot read {}: {error}", path.display()))?;
    RootImage::parse(&bytes).map_err(|why| format!("{} is damaged: {why}", path.display()))
}

/// Size in bytes of the files in a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_known_by_their_names() {
        assert_eq!(image_of("compute@20261129T1000"), Some("compute"));
        assert_eq!(image_of("a.b-c@20261129T100000-02"), Some("a.b-c"));
        for name in ["compute", "@1", "compute@", "../x@1", "a@../b", ".a@1", "a@1@2"] {
            assert_eq!(image_of(name), None, "{name}");
        }
    }
}
