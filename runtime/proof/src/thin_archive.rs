//! Archives that only name their members, as build systems leave them beside their objects.

use std::path::Path;

use object::read::archive::ArchiveFile;

use super::archive;
use super::bytes::text_of;
use super::folder::Listing;

/// Whether some bytes are a thin archive of which all is known: it holds nothing but names, and each is that of a
/// file in the listing, which is read there.
pub(super) fn is_covered(path: &Path, bytes: &[u8], listing: &Listing) -> bool {
    let Some(archive) = ArchiveFile::parse(bytes).ok().filter(ArchiveFile::is_thin) else { return false };
    let folder = path.parent().unwrap_or(path);
    archive::unexplained_in_thin(bytes).is_empty()
        && archive.members().all(|member| {
            let name = member.ok().and_then(|member| str::from_utf8(member.name()).ok().map(str::to_owned));
            name.is_some_and(|name| listing.holds(&folder.join(name)))
        })
}

/// Says which files a thin archive stands for, and the way out.
pub(super) fn describe(archive: &ArchiveFile<'_>) -> String {
    const SHOWN: usize = 3;
    let mut members = archive.members().map_while(Result::ok);
    let shown: Vec<_> = members.by_ref().take(SHOWN).map(|member| text_of(member.name())).collect();
    let more = match members.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "a thin archive, which names {}{more} but does not hold them; verify those files with it in one folder, or \
         an archive made without `T`",
        shown.join(", ")
    )
}
