//! Looks into compiled objects before a linker does.
//!
//! A linker acts on more than code: on intermediate code of a link-time optimiser it starts compilers,
//! with options that the object names. Assembly in a source can put any section into an object, so no
//! object with such a section is linked.

use object::{Object, ObjectSection, ObjectSymbol};

/// How the names of sections begin that make a linker start a compiler.
const INTERMEDIATE: [&str; 5] = [".gnu.lto_", ".gnu.debuglto_", ".llvm.lto", ".llvmbc", ".llvmcmd"];

/// How GCC marks an object that holds intermediate code alone, or beside other code.
const MARKS: [&str; 2] = ["__gnu_lto_slim", "__gnu_lto_v1"];

/// Why an object is not linked; `None` if it may be.
pub(super) fn refusal(object: &[u8]) -> Option<String> {
    let file = match object::File::parse(object) {
        Ok(file) => file,
        Err(error) => return Some(format!("what the compiler wrote is no object: {error}")),
    };
    let section = file.sections().find_map(|section| {
        let name = section.name_bytes().ok()?;
        INTERMEDIATE.iter().any(|start| name.starts_with(start.as_bytes())).then(|| name.to_owned())
    });
    let mark = file.symbols().find_map(|symbol| {
        let name = symbol.name_bytes().ok()?;
        MARKS.iter().any(|mark| name == mark.as_bytes()).then(|| name.to_owned())
    });
    let name = section.or(mark)?;
    let name = String::from_utf8_lossy(&name).escape_debug().to_string();
    Some(format!("the object holds `{name}`, intermediate code that would make the linker start compilers"))
}
