//! Decides which of a submission's `nvcc_flags` may reach nvcc.
//!
//! Only what is known is let through. nvcc hands its arguments to a shell and to programs that read
//! `@file` as more arguments, so a flag is also a way to run programs; and a flag can change the
//! architecture, read files of the machine that builds, or make the result depend on that machine. Each refusal says which of these it is.
//!
//! | kept | form |
//! |---|---|
//! | `-D`, `-U`, `-I` inside the submission | joined or separate |
//! | `-O`, `-std`, `-lineinfo`, `-maxrregcount`, `-use_fast_math`, `-ftz`, `-fmad`, … | as nvcc spells them |
//! | `-Xptxas`, `-Xcompiler`, `-Xcudafe`, `-Xfatbin` | with values from a list of their own |
//! | `-rdc=true` | device code is then linked across files |
//! | `-lcuda`, `-lcublas`, … | libraries of CUDA that the machine which loads the result has |

use std::collections::BTreeSet;

use proofmark_packager::SourcePath;

use super::options::Fate::{
    self, Define, DeviceLink, Include, Keep, Library, Optimization, Refuse, Stage, Standard, Undefine,
};
use super::options::OPTIONS;
use super::options::Takes::{self, Nothing, Value};
use super::stage::{self, is_name, is_word};
use super::stand_in::Linkable;

/// A submission's flags, checked, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// What goes on every nvcc command line.
    pub arguments: Vec<String>,
    /// What else follows from them.
    pub effects: BTreeSet<Effect>,
    /// The libraries that are linked by name alone.
    pub libraries: BTreeSet<Linkable>,
}

/// What a flag means for the rest of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The language standard is set: ours is left out.
    Standard,
    /// The optimisation level is set: ours is left out.
    Optimization,
    /// Device code calls device code of other files: there is one more link.
    DeviceLink,
}

/// Columns of a help text's lines.
const HELP_WIDTH: usize = 96;

/// Every flag that a submission may use, for a help text; whatever is not here is refused.
pub fn accepted_flags() -> String {
    let mut plain = vec!["-D<name>[=<value>]".to_owned(), "-U<name>".to_owned(), "-I<folder>".to_owned()];
    plain.push("-O<level>".to_owned());
    plain.extend(Linkable::ALL.map(|library| format!("-l{}", library.name())));
    let mut stages = Vec::new();
    for &(names, takes, fate) in OPTIONS {
        match fate {
            Keep | Standard | DeviceLink => {
                let value = if takes == Value { "=<value>" } else { "" };
                plain.extend(stage::short_spellings(names).map(|name| format!("{name}{value}")));
            }
            Stage(stage) => stages.push((names[0], stage::described(stage).collect::<Vec<_>>())),
            // Written out above, as they are joined with their values.
            Define | Undefine | Include | Optimization | Library | Refuse(_) => {}
        }
    }
    let mut text = "Accepted in `[target] nvcc_flags`, each word a string of its own:\n".to_owned();
    text.push_str(&wrapped(&plain));
    for (name, options) in stages {
        text.push_str(&format!("Accepted behind {name}, with commas in between:\n{}", wrapped(&options)));
    }
    text
}

/// Indented lines of whole words.
fn wrapped(words: &[String]) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in words {
        if line.chars().count() + word.chars().count() + 3 > HELP_WIDTH {
            text.push_str(&format!("  {}\n", line.trim_end()));
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    text + &format!("  {}\n", line.trim_end())
}

/// A flag that is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nvcc flag `{flag}` is refused: {reason}")]
pub struct FlagRefusal {
    /// The flag as written.
    pub flag: String,
    /// Why.
    pub reason: Reason,
}

/// Why a flag is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `-gencode`, `-arch`, `-code` and what implies them.
    #[error("the architecture is chosen by `target.arch` or `--arch`")]
    Architecture,
    /// `-o`, `-c`, `-ptx`, `-shared`, `-keep` and the like.
    #[error("it changes what is built or where it is written")]
    Output,
    /// `-include`, `-optf`, `-isystem`, `-L` and the like.
    #[error("it reads files that are not in the submission")]
    Reads,
    /// `-ccbin`, plugins, wrappers.
    #[error("it chooses programs that the build runs")]
    Programs,
    /// `-march=native`, `-G`, `-time` and the like.
    #[error("the built bytes would depend on the machine, the folder or the time")]
    NotReproducible,
    /// Characters that the shell behind nvcc would act on.
    #[error("it contains a character that the shell behind nvcc would act on")]
    Shell,
    /// `@file`, wherever a program behind nvcc may see it.
    #[error("what begins with `@` is read as a file of further flags")]
    ResponseFile,
    /// A macro that is more than a name and a value.
    #[error("expected NAME or NAME=VALUE; nvcc splits at a comma, even inside parentheses")]
    Macro,
    /// A folder that is not a path inside the submission.
    #[error("an include folder must be a relative path inside the submission, such as `-Iinclude`")]
    IncludeFolder,
    /// A value is missing or superfluous.
    #[error("it is malformed")]
    Malformed,
    /// `-lfoo`.
    #[error("only the driver, cuBLAS and the like can be linked; the CUDA runtime and TVM-FFI always are")]
    Library,
    /// A value for a compiler stage that is not on its list.
    #[error("this value is not on the list of what may be passed to that stage")]
    Value,
    /// Several words in one string.
    #[error("it holds a space: make each word a string of its own, as in `[\"-Xptxas\", \"-O3\"]`")]
    Words,
    /// Not on the list.
    #[error("proofmark does not know it to be harmless")]
    Unknown,
}

impl Flags {
    /// Checks every flag; all refusals are given, not only the first.
    pub fn check(flags: &[String]) -> Result<Self, Vec<FlagRefusal>> {
        let mut checked = Self::default();
        let mut refusals = Vec::new();
        let mut rest = flags.iter().map(String::as_str);
        while let Some(flag) = rest.next() {
            if let Err(reason) = checked.take(flag, &mut rest) {
                refusals.push(FlagRefusal { flag: flag.to_owned(), reason });
            }
        }
        if refusals.is_empty() { Ok(checked) } else { Err(refusals) }
    }

    fn take<'f>(&mut self, flag: &'f str, rest: &mut impl Iterator<Item = &'f str>) -> Result<(), Reason> {
        let (name, attached, takes, fate) = recognize(flag)?;
        let value = match (takes, attached) {
            (Nothing, None) => None,
            (Nothing, Some(_)) => return Err(Reason::Malformed),
            (Value, Some(value)) => Some(value),
            (Value, None) => Some(rest.next().ok_or(Reason::Malformed)?),
        };
        if let Refuse(reason) = fate {
            return Err(reason);
        }
        let value = value.unwrap_or_default();
        if takes == Value && value.is_empty() {
            return Err(Reason::Malformed);
        }
        if takes == Value {
            check_value(fate, value)?;
        }
        match fate {
            Include => return self.include(value),
            Library => return self.library(value),
            Standard => self.set(Effect::Standard),
            Optimization => self.set(Effect::Optimization),
            DeviceLink if value == "true" => self.set(Effect::DeviceLink),
            Keep | Define | Undefine | Stage(_) | DeviceLink | Refuse(_) => {}
        }
        self.arguments.push(spell(name, takes, value));
        Ok(())
    }

    fn set(&mut self, effect: Effect) {
        self.effects.insert(effect);
    }

    /// Whether one of the flags has this effect.
    pub fn have(&self, effect: Effect) -> bool {
        self.effects.contains(&effect)
    }

    fn include(&mut self, folder: &str) -> Result<(), Reason> {
        let trimmed = folder.trim_start_matches("./").trim_end_matches('/');
        if !matches!(trimmed, "" | ".") {
            trimmed.parse::<SourcePath>().map_err(|_| Reason::IncludeFolder)?;
        }
        // A comma would name a second folder.
        if folder.contains(',') || folder.starts_with('/') {
            return Err(Reason::IncludeFolder);
        }
        let inside = if trimmed == "." { "" } else { trimmed };
        self.arguments.push(format!("-I{}", super::plan::in_sources(inside)));
        Ok(())
    }

    fn library(&mut self, name: &str) -> Result<(), Reason> {
        match name {
            // Always linked.
            "cudart" | "cudart_static" | "tvm_ffi" | "rt" | "dl" | "pthread" | "m" | "stdc++" => {}
            _ => {
                self.libraries.insert(Linkable::named(name).ok_or(Reason::Library)?);
            }
        }
        Ok(())
    }
}

/// Splits a flag into the option's name as written and the attached value.
fn recognize(flag: &str) -> Result<(&str, Option<&str>, Takes, Fate), Reason> {
    let known = |name: &str| OPTIONS.iter().find(|(names, ..)| names.contains(&name));
    if let Some(&(_, takes, fate)) = known(flag) {
        return Ok((flag, None, takes, fate));
    }
    if let Some((first, _)) = flag.split_once(' ')
        && let Some(&(.., fate)) = known(first)
    {
        return Err(if let Refuse(reason) = fate { reason } else { Reason::Words });
    }
    if let Some((name, value)) = flag.split_once('=')
        && let Some(&(_, takes, fate)) = known(name)
    {
        return Ok((name, Some(value), takes, fate));
    }
    // `-DNAME`, `-Ifolder`, `-O3`, `-lcuda`; what nvcc takes joined.
    let joined = ["-D", "-U", "-I", "-O", "-l", "-L"].into_iter().find(|name| flag.starts_with(name));
    match joined.and_then(known) {
        Some(&(_, takes, fate)) => Ok((&flag[..2], Some(&flag[2..]), takes, fate)),
        _ if flag.starts_with('-') => Err(Reason::Unknown),
        // A bare word would be an input file.
        _ => Err(Reason::Reads),
    }
}

fn spell(name: &str, takes: Takes, value: &str) -> String {
    match takes {
        Nothing => name.to_owned(),
        Value if matches!(name, "-D" | "-U" | "-O") => format!("{name}{value}"),
        Value => format!("{name}={value}"),
    }
}

fn check_value(fate: Fate, value: &str) -> Result<(), Reason> {
    if value.split([',', ' ', '=']).any(|part| part.starts_with('@')) && fate != Include {
        return Err(Reason::ResponseFile);
    }
    match fate {
        Define | Undefine => keep_quoted(value)?,
        _ => keep_plain(value)?,
    }
    let (fits, reason) = match fate {
        Define => (value.split(',').all(is_definition), Reason::Macro),
        Undefine => (value.split(',').all(is_name), Reason::Macro),
        Stage(stage) => (stage::admits(stage, value), Reason::Value),
        Include | Library => (true, Reason::Malformed),
        // Numbers, names and lists of them: an option's name in the place of its value is a mistake.
        _ => (value.split(',').all(|part| is_word(part) && !part.starts_with('-')), Reason::Malformed),
    };
    if fits { Ok(()) } else { Err(reason) }
}

/// `NAME` or `NAME=value`. The name comes first, so it is one whatever the value holds.
fn is_definition(part: &str) -> bool {
    is_name(part.split_once('=').map_or(part, |(name, _)| name))
}

/// For macros: nvcc puts them between double quotes, where a shell takes these as they are.
fn keep_quoted(value: &str) -> Result<(), Reason> {
    let plain = |one: char| one.is_alphanumeric() || "_=+-*/%.,:;()<>[]{}&|^~? ".contains(one);
    if value.chars().all(plain) { Ok(()) } else { Err(Reason::Shell) }
}

/// For everything else: nothing that a shell knows.
fn keep_plain(value: &str) -> Result<(), Reason> {
    let plain = |one: char| one.is_alphanumeric() || "_=+-.,:/%@ ".contains(one);
    if value.chars().all(plain) { Ok(()) } else { Err(Reason::Shell) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reason::{Architecture, NotReproducible, Output, Programs, Reads};

    fn check(flags: &[&str]) -> Result<Flags, Vec<Reason>> {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        Flags::check(&flags).map_err(|refusals| refusals.into_iter().map(|one| one.reason).collect())
    }

    #[test]
    fn keeps_what_submissions_use_in_each_spelling() {
        let flags = check(&[
            "-O3",
            "--use_fast_math",
            "-DTILE=(4*2)",
            "-D",
            "N=1",
            "--expt-relaxed-constexpr",
            "-std=c++20",
            "-Xptxas",
            "-O3,-v",
            "--ptxas-options=-dlcm=ca",
            "-Xcompiler=-Wall,-O2",
            "-lineinfo",
            "-maxrregcount",
            "64",
            "-lcuda",
            "-lcudart",
            "-diag-suppress=177,186",
        ])
        .unwrap();
        assert_eq!(
            flags.arguments,
            [
                "-O3",
                "--use_fast_math",
                "-DTILE=(4*2)",
                "-DN=1",
                "--expt-relaxed-constexpr",
                "-std=c++20",
                "-Xptxas=-O3,-v",
                "--ptxas-options=-dlcm=ca",
                "-Xcompiler=-Wall,-O2",
                "-lineinfo",
                "-maxrregcount=64",
                "-diag-suppress=177,186",
            ]
        );
        assert_eq!(flags.effects, BTreeSet::from([Effect::Standard, Effect::Optimization]));
        assert_eq!(flags.libraries, BTreeSet::from([Linkable::Cuda]));
    }

    #[test]
    fn the_help_text_lists_what_is_accepted_and_nothing_that_is_refused() {
        let text = accepted_flags();
        for flag in ["-use_fast_math", "-lineinfo", "-std=<value>", "-rdc=<value>", "-dlcm=<word>", "-lcuda"]
        {
            assert!(text.contains(flag), "{flag}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= HELP_WIDTH), "{text}");
        let words = text.lines().filter(|line| line.starts_with("  ")).flat_map(str::split_whitespace);
        let stages = text.find("Accepted behind").unwrap();
        for word in words.take_while(|word| text.find(word).unwrap() < stages) {
            let value = if word.starts_with("-std") { "c++17" } else { "1" };
            let flag = word.split(['[', '<']).next().unwrap().to_owned();
            let flag =
                if word.ends_with('>') || word.ends_with(']') { format!("{flag}{value}") } else { flag };
            let flag = flag.replace("-D1", "-DX").replace("-U1", "-UX");
            assert!(check(&[&flag]).is_ok(), "{flag} is listed and refused");
        }
        for refused in ["-arch", "-ccbin", "-optf", "-G ", "-Xlinker", "-wrapper"] {
            assert!(!text.contains(refused), "{refused}");
        }
    }

    #[test]
    fn include_folders_stay_inside() {
        let flags = check(&["-I", "include", "-I.", "-Ia/b/"]).unwrap();
        assert_eq!(
            flags.arguments,
            ["-I/proc/self/cwd/source/include", "-I/proc/self/cwd/source/", "-I/proc/self/cwd/source/a/b"]
        );
        for flag in ["-I/usr/include", "-I..", "-Ia/../..", "-Ia,/etc", "--include-path=/etc"] {
            assert_eq!(check(&[flag]), Err(vec![Reason::IncludeFolder]), "{flag}");
        }
    }

    #[test]
    fn refuses_each_kind_for_its_reason() {
        let cases = [
            ("-gencode=arch=compute_100,code=sm_100", Architecture),
            ("-arch=sm_90", Architecture),
            ("-dlto", Architecture),
            ("-o/tmp/x", Reason::Unknown),
            ("-libevil", Reason::Library),
            ("--output-file=/tmp/x", Output),
            ("-ptx", Output),
            ("-optf=flags.txt", Reads),
            ("/etc/passwd", Reads),
            ("-L/usr/lib", Reads),
            ("-ccbin=/tmp/g++", Programs),
            ("-Xlinker=-rpath", Programs),
            ("-G", NotReproducible),
            ("-Xcompiler=-fplugin=x.so", Reason::Value),
            ("-Xcompiler=-march=native", Reason::Value),
            ("-Xcompiler=-Wall,-Wl,-rpath", Reason::Value),
            ("-Xcompiler=-include", Reason::Value),
            ("-Xptxas=-arch=sm_90", Reason::Value),
            ("-Xptxas=-optf", Reason::Value),
            ("-Xcicc=-x", Reason::Unknown),
            ("-lnccl", Reason::Library),
            ("-DX=$(touch x)", Reason::Shell),
            ("-DX=`touch x`", Reason::Shell),
            ("-DX=\"a\"", Reason::Shell),
            ("-Xptxas=-v;touch", Reason::Shell),
            ("-maxrregcount=64;touch x", Reason::Shell),
            ("-D", Reason::Malformed),
            ("-D=", Reason::Malformed),
            ("-DX=a\nb", Reason::Shell),
            ("-D1X", Reason::Macro),
            ("-D-wrapper", Reason::Macro),
            ("-DX,", Reason::Macro),
            ("-DX=f(1,2)", Reason::Macro),
            ("-DX,-wrapper", Reason::Macro),
            ("-UX=1", Reason::Macro),
            ("-U-wrapper", Reason::Macro),
            ("-Xcompiler=-wrapper", Reason::Value),
            ("-Xcompiler=-D", Reason::Value),
            ("-Xcompiler=-U", Reason::Value),
            ("-Xcompiler=-I", Reason::Value),
            ("-Xcompiler=-O2,-wrapper,/bin/sh", Reason::Value),
            ("-Xcompiler=-O2 -wrapper", Reason::Value),
            ("-Xcompiler=-O2\"", Reason::Shell),
            ("-Xptxas=--options-file=x", Reason::Value),
            ("-Xlinker=@x", Programs),
            ("--options-file=@x", Reads),
            ("-options-file=x", Reason::Unknown),
            ("-std=c++17 -x", Reason::Malformed),
            ("-Werror=all-warnings,-x", Reason::Malformed),
            ("-lineinfo=yes", Reason::Malformed),
            ("--no-such-option", Reason::Unknown),
            ("-Xptxas -O3", Reason::Words),
            ("-lineinfo -O3", Reason::Words),
            ("-I include", Reason::Words),
            ("-D N=1", Reason::Words),
            ("-gencode arch=compute_90,code=sm_90", Architecture),
            ("--no-such x", Reason::Unknown),
        ];
        for (flag, reason) in cases {
            assert_eq!(check(&[flag]), Err(vec![reason]), "{flag}");
        }
        assert_eq!(check(&["-D", "-wrapper"]), Err(vec![Reason::Macro]));
        assert_eq!(check(&["-maxrregcount", "-wrapper"]), Err(vec![Reason::Malformed]));
        assert_eq!(check(&["-G", "-O3", "-ptx"]), Err(vec![NotReproducible, Output]));
        assert_eq!(check(&["-include", "/etc/passwd", "-G"]), Err(vec![Reads, NotReproducible]));
    }

    #[test]
    fn a_file_of_further_flags_is_refused_wherever_a_program_could_see_it() {
        for flag in [
            "-D@source/opts.h",
            "-D=@source/opts.h",
            "-DX,@source/opts.h",
            "-DX=@source/opts.h",
            "-U@source/opts.h",
            "-std=@source/opts.h",
            "-O@source/opts.h",
            "-l@source/opts.h",
            "-maxrregcount=@source/opts.h",
            "-diag-suppress=177,@source/opts.h",
            "-Xcompiler=@source/opts.h",
            "-Xcompiler=-O2,@source/opts.h",
            "-Xcompiler=-O2 @source/opts.h",
            "-Xptxas=@source/opts.h",
            "-Xcudafe=--diag_suppress=@source/opts.h",
            "-Xfatbin=@source/opts.h",
        ] {
            assert_eq!(check(&[flag]), Err(vec![Reason::ResponseFile]), "{flag}");
        }
        assert_eq!(check(&["-D", "@source/opts.h"]), Err(vec![Reason::ResponseFile]));
        assert_eq!(check(&["@source/opts.h"]), Err(vec![Reads]));
        // Behind `-I` stands the build's own folder, so this one is a folder's name.
        assert_eq!(check(&["-I@x"]).unwrap().arguments, ["-I/proc/self/cwd/source/@x"]);
    }
}
