//! The layout of the contest's kit, and what its script does not pass on.

use std::path::{Path, PathBuf};

use super::config::CONFIG_NAME;
use super::{BuildSpec, Language, Note, SolutionMeta};

/// Where the sources of a submission stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SourcesPlace {
    /// In `solution/<language>/`, as the contest's kit has it.
    Kit,
    /// Beside `config.toml`.
    Beside,
}

impl SourcesPlace {
    /// Which it is in a folder, and the folder of the sources.
    pub(super) fn of(folder: &Path, language: Language) -> (Self, PathBuf) {
        let kit = folder.join("solution").join(language.as_str());
        if kit.is_dir() { (Self::Kit, kit) } else { (Self::Beside, folder.to_owned()) }
    }
}

/// The kit's script passes none of these on, so the contest never sees them. Without its binding a
/// submission would mean another one, which does not build; that one is kept.
pub(super) fn drop_what_the_kit_ignores(
    solution: Option<&mut SolutionMeta>,
    build: Option<&mut BuildSpec>,
    notes: &mut Vec<Note>,
) {
    let mut ignored = |key: &str| {
        notes.push(Note {
            path: CONFIG_NAME.to_owned(),
            what: format!("`{key}` is ignored in the kit layout, as the contest's packer does"),
        });
    };
    if let Some(solution) = solution {
        let description = solution.description.replace(String::new());
        if description.is_some_and(|text| !text.is_empty()) {
            ignored("solution.description");
        }
    }
    if let Some(build) = build {
        if !std::mem::take(&mut build.dependencies).is_empty() {
            ignored("build.dependencies");
        }
        if build.target_hardware != ["cuda"] {
            build.target_hardware = vec!["cuda".to_owned()];
            ignored("build.target_hardware");
        }
        if let Some(binding) = build.binding {
            let what = format!(
                "`build.binding` is kept as `{}`: the contest's packer drops it and writes null, which means \
                 `tvm-ffi`",
                binding.as_str()
            );
            notes.push(Note { path: CONFIG_NAME.to_owned(), what });
        }
    }
}
