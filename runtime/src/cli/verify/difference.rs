//! `--diff OLD NEW`: what changed in the device code of two releases.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proofmark_packager::escape;
use serde_json::json;

use super::could_not_read;
use super::lines::unread_lines;
use super::table::size;
use crate::cli::console::Console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::Failure;
use crate::proof::gate::{Comparison, Difference, FileDifference, Form, ImageDifference, Inventory};
use crate::proof::{Depth, demangle};

/// Most files shown; the JSON has all.
const SHOWN: usize = 40;

/// Compares two paths.
pub(super) fn run(paths: &[PathBuf], console: &Console) -> Result<ExitCode, Failure> {
    let [old, new] = paths else {
        let text = format!("--diff takes two paths, the old and the new one; {} were given", paths.len());
        return Err(Failure::request(text).hint("`proofmark verify --diff OLD NEW`"));
    };
    let read = |path: &Path| Inventory::of(path, Depth::Code).map_err(could_not_read);
    let (before, after) = (read(old)?, read(new)?);
    let difference = Difference::between(&before, &after);
    console.print(described(&difference, [(old, &before), (new, &after)]))?;
    console.document(
        "proofmark.verify-difference",
        1,
        &json!({
            "old": old.display().to_string(), "new": new.display().to_string(),
            "difference": difference,
            "unread": { "old": before.not_known(), "new": after.not_known() },
        }),
    )?;
    Ok(if difference.answer == Comparison::Same { ExitCode::Yes } else { ExitCode::No })
}

fn described(difference: &Difference, sides: [(&PathBuf, &Inventory); 2]) -> String {
    let mut text = String::new();
    for (path, inventory) in sides {
        text += &unread_lines(&inventory.not_known(), &format!("unreadable in {}", name_of(path)));
    }
    match difference.answer {
        Comparison::Same => {
            return text + "the same device code in every file, byte for byte";
        }
        Comparison::NoDeviceCode => {
            return text + "no device code in either, so there is nothing to compare";
        }
        Comparison::NotKnown => {
            text += "not known  whether the device code is the same: the rest shows no difference\n";
        }
        Comparison::Different if !text.is_empty() => {
            text += "different  and not known where something could not be read\n";
        }
        Comparison::Different => {}
    }
    let list = |archs: &[proofmark_packager::Arch]| {
        archs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    if !difference.archs_gone.is_empty() {
        let _ = writeln!(text, "gone       machine code for {}", list(&difference.archs_gone));
    }
    if !difference.archs_appeared.is_empty() {
        let _ = writeln!(text, "appeared   machine code for {}", list(&difference.archs_appeared));
    }
    let all = difference.device_code;
    let _ = writeln!(text, "device code  {} → {}", size(all.old_bytes), size(all.new_bytes));
    for file in difference.files.iter().take(SHOWN) {
        text += &of_file(file);
    }
    if difference.files.len() > SHOWN {
        let _ = writeln!(text, "… and {} more files; --json has all", difference.files.len() - SHOWN);
    }
    text.trim_end().to_owned()
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn of_file(file: &FileDifference) -> String {
    let sizes = match file.change {
        "appeared" => size(file.sizes.new_bytes),
        "gone" => size(file.sizes.old_bytes),
        _ => format!("{} → {}", size(file.sizes.old_bytes), size(file.sizes.new_bytes)),
    };
    let mut text = format!("{}  {}  {sizes}\n", file.change.replace('_', " "), escape::line(&file.file));
    for images in &file.images {
        text += &of_images(images);
    }
    text
}

fn of_images(images: &ImageDifference) -> String {
    let arch = images.arch.map_or_else(|| "?".to_owned(), |arch| arch.to_string());
    let ((old, new), sizes) = (images.images, images.sizes);
    let mut text = format!(
        "    {arch} {}  {old} → {new} images, {} → {}\n",
        images.form.word(),
        size(sizes.old_bytes),
        size(sizes.new_bytes)
    );
    let changes = [
        (&images.kernels_gone, "-", ""),
        (&images.kernels_appeared, "+", ""),
        (&images.kernels_changed, "~", ": other machine code"),
    ];
    for (names, sign, how) in changes {
        const NAMES: usize = 5;
        for name in names.iter().take(NAMES) {
            let _ = writeln!(text, "      {sign} {}{how}", escape::line(&demangle(name)));
        }
        if names.len() > NAMES {
            let _ = writeln!(text, "      {sign} … and {} more kernels{how}", names.len() - NAMES);
        }
    }
    if images.images_changed > 0 && changes.iter().all(|(names, ..)| names.is_empty()) {
        let _ = writeln!(text, "      ~ {}", elsewhere(images));
    }
    text
}

/// What differs where every kernel is as before.
fn elsewhere(images: &ImageDifference) -> String {
    let count = images.images_changed;
    let differ = if count == 1 { "image differs" } else { "images differ" };
    match images.form {
        Form::MachineCode => format!(
            "{count} {differ} in other bytes than the kernels' machine code: constants, other functions, or words of \
             the build"
        ),
        Form::Ptx | Form::LtoIr | Form::Unknown => format!("{count} {differ}"),
    }
}
