//! A competition's list of problems, which says the leaderboard and the GPUs of each: `<problems>/<competition>.yaml`.

use std::fs;
use std::path::{Path, PathBuf};

use yaml_rust2::Yaml;

use super::problem::{parse, read_text, text};

/// Folders above a problem in which lists are looked for: `problems/` is the second.
const MOST_LEVELS: usize = 3;

/// Most lists of a folder that are read; the repository has ten.
const MOST_LISTS: usize = 64;

/// What a competition says of one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The leaderboard's name.
    pub leaderboard: String,
    /// Its GPUs, by the server's names.
    pub gpus: Vec<String>,
}

/// The first competition, by its file's name, that lists a problem's folder.
pub(super) fn listing(folder: &Path) -> Option<Listing> {
    let folder = folder.canonicalize().ok()?;
    folder.ancestors().skip(1).take(MOST_LEVELS).find_map(|above| {
        let lists = lists_in(above);
        lists.iter().find_map(|list| listed(list, above, &folder))
    })
}

fn lists_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_list = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml") && path.is_file();
    let mut lists: Vec<_> = entries.filter(is_list).collect();
    lists.sort();
    lists.truncate(MOST_LISTS);
    lists
}

fn listed(list: &Path, above: &Path, folder: &Path) -> Option<Listing> {
    let document = parse(&read_text(list).ok()?, &mut Vec::new());
    let is_it =
        |problem: &&Yaml| text(problem, "directory").is_some_and(|place| above.join(place) == *folder);
    let problem = document["problems"].as_vec()?.iter().find(is_it)?;
    let gpus = problem["gpus"].as_vec().into_iter().flatten().filter_map(Yaml::as_str);
    let is_plain = |text: &&str| super::submission::is_plain(text);
    Some(Listing {
        leaderboard: text(problem, "name").filter(is_plain)?.to_owned(),
        gpus: gpus.filter(is_plain).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_found_in_the_list_above_it_by_its_folder() {
        let place = tempfile::tempdir().unwrap();
        let problem = place.path().join("amd/fp8-mm");
        fs::create_dir_all(&problem).unwrap();
        let list = "problems:\n  - directory: amd/moe\n    name: other\n  - directory: amd/fp8-mm\n    name: amd-fp8-mm\n    \
                    gpus:\n      - MI300\n      - \"a b\"\n";
        fs::write(place.path().join("amd.yaml"), list).unwrap();
        fs::write(place.path().join("broken.yaml"), "problems: [").unwrap();
        let found = listing(&problem).unwrap();
        assert_eq!((found.leaderboard.as_str(), found.gpus), ("amd-fp8-mm", vec!["MI300".to_owned()]));
        assert_eq!(listing(&place.path().join("amd")), None);
        fs::write(place.path().join("amd.yaml"), list.replace("amd-fp8-mm\n", "\"a\\nb\"\n")).unwrap();
        assert_eq!(listing(&problem), None);
    }
}
