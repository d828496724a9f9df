//! Names, permissions and page sizes of the files in the state folder.

/// File name of the database in the state folder.
pub const DATABASE: &str = "leases.db";
/// File name of the token of the API in the state folder. Only its owner may read it.
pub const TOKEN_FILE: &str = "token";

/// Permissions of every file in the state folder. Other users of this computer must not see the clients' addresses.
pub const FILE_MODE: u32 = 0o640;

/// Permissions of the state folder, for the same reason.
pub const FOLDER_MODE: u32 = 0o750;
/// SQLite's page size for new databases. Renewals come in random order, so each one changes a different page, and the
/// log stores whole pages. Pages of this size make random renewals twice as fast as SQLite's default of 4096 bytes.
pub(super) const PAGE_SIZE: u32 = 1024;
/// Number of pages in the log at which a checkpoint moves them to the database: 4 MiB. The commit that does it takes
/// about 10 ms longer.
pub(super) const LOG_PAGES: u32 = 4 * 1024;
