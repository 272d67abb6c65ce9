//! Notes that say the same of many files become one.

use std::collections::BTreeMap;

use super::Note;

/// Most notes that say the same of different files; more become one that counts them.
pub(super) const MOST_ALIKE: usize = 3;

/// Makes one note of many that say the same: the first place, and how many more there are.
pub(super) fn summarised(notes: Vec<Note>) -> Vec<Note> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Note { path, what } in &notes {
        places.entry(what.clone()).or_default().push(path.clone());
    }
    let mut summary = Vec::new();
    for note in notes {
        let paths = places.get(&note.what).map_or(&[][..], Vec::as_slice);
        if paths.len() <= MOST_ALIKE {
            summary.push(note);
        } else if paths[0] == note.path {
            let what = format!("{}; so are {} more, such as {}", note.what, paths.len() - 1, paths[1]);
            summary.push(Note { what, ..note });
        }
    }
    summary
}
