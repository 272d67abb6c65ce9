//! What a submission may pass to the programs behind nvcc.
//!
//! nvcc splits a value at its commas and puts the parts on the command line of a stage, as they
//! are, for a shell to read. So each part must be a whole option of the lists below: an option that
//! would take the word behind it could swallow one of ours, and `@file` would be read as more
//! options.

use Form::{Definition, Name, Nothing, Number, Switch, Word};

/// The options of one stage: how they begin, and what follows.
pub(super) type Stage = &'static [(&'static [&'static str], Form)];

/// What follows the beginning of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The option is complete.
    Nothing,
    /// Digits.
    Number,
    /// `true` or `false`.
    Switch,
    /// Letters, digits and any of `_.+=-`; at least one.
    Word,
    /// A macro's name.
    Name,
    /// A macro's name, and perhaps `=` and its value.
    Definition,
}

impl Form {
    fn admits(self, rest: &str) -> bool {
        match self {
            Nothing => rest.is_empty(),
            Number => !rest.is_empty() && rest.bytes().all(|one| one.is_ascii_digit()),
            Switch => matches!(rest, "true" | "false"),
            Word => is_word(rest),
            Name => is_name(rest),
            Definition => match rest.split_once('=') {
                Some((name, value)) => is_name(name) && (value.is_empty() || is_word(value)),
                None => is_name(rest),
            },
        }
    }
}

/// The options of a stage as a help text writes them.
pub(super) fn described(stage: Stage) -> impl Iterator<Item = String> {
    stage.iter().flat_map(|&(starts, form)| {
        let rest = match form {
            Nothing => "",
            Number => "<number>",
            Switch => "<true|false>",
            Word => "<word>",
            Name => "<name>",
            Definition => "<name>[=<value>]",
        };
        short_spellings(starts).map(move |start| format!("{start}{rest}"))
    })
}

/// Leaves out the spellings with two dashes of what can be written with one.
pub(super) fn short_spellings<'a>(names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let is_double = |name: &str| {
        let bare = name.trim_end_matches('=').strip_prefix("--");
        // `--opt-level` is another spelling of `-O`, `--maxrregcount` of `-maxrregcount`.
        bare.is_some() && names.iter().any(|other| !other.starts_with("--"))
    };
    names.iter().copied().filter(move |name| !is_double(name))
}

/// Whether every part of a value is an option of the stage.
pub(super) fn admits(stage: Stage, value: &str) -> bool {
    value.split(',').all(|part| {
        let fits = |start: &&str, form: Form| part.strip_prefix(*start).is_some_and(|rest| form.admits(rest));
        !PASSED_ON.contains(&part)
            && stage.iter().any(|&(starts, form)| starts.iter().any(|start| fits(start, form)))
    })
}

/// Letters, digits and what joins them. Nothing that a shell or a compiler reads as more than that.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|one| one.is_ascii_alphanumeric() || b"_.+=-".contains(&one))
}

/// A name as C++ has it, of ASCII letters.
pub(super) fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_');
    starts && text.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'_')
}

/// What looks like a warning and passes something on to other programs.
const PASSED_ON: &[&str] = &["-Wa", "-Wl", "-Wp"];

/// What may be passed to ptxas.
#[rustfmt::skip]
pub(super) const PTXAS: Stage = &[
    (&["-O0", "-O1", "-O2", "-O3", "-O4", "-v", "--verbose", "-w", "--disable-warnings", "-Werror",
      "--warning-as-error", "-warn-spills", "--warn-on-spills", "-warn-lmem-usage",
      "--warn-on-local-memory-usage", "-warn-double-usage", "--warn-on-double-precision-use",
      "-disable-optimizer-consts", "--disable-optimizer-constants", "-ewp",
      "--extensible-whole-program", "-uumn", "--uumn", "-preserve-relocs", "--preserve-relocs",
      "-suppress-stack-size-warning", "--suppress-stack-size-warning",
      "-suppress-async-bulk-multicast-advisory-warning",
      "--suppress-async-bulk-multicast-advisory-warning"], Nothing),
    (&["-O=", "--opt-level=", "-maxrregcount=", "--maxrregcount=", "-regUsageLevel=",
      "-register-usage-level=", "--register-usage-level="], Number),
    (&["-fmad=", "--fmad=", "-allow-expensive-optimizations=", "--allow-expensive-optimizations=",
      "-pic=", "--position-independent-code="], Switch),
    (&["-dlcm=", "--def-load-cache=", "-dscm=", "--def-store-cache="], Word),
];

/// What may be passed to the host compiler.
#[rustfmt::skip]
pub(super) const HOST: Stage = &[
    (&["-O", "-O0", "-O1", "-O2", "-O3", "-Ofast", "-Os", "-Og", "-Oz", "-W", "-w", "-fPIC", "-fpic",
      "-fstrict-aliasing", "-funroll-loops", "-ffast-math", "-ffinite-math-only",
      "-fassociative-math", "-freciprocal-math", "-fvisibility=default", "-fvisibility=hidden",
      "-fvisibility=internal", "-fvisibility=protected", "-fvisibility-inlines-hidden",
      "-fexceptions", "-frtti", "-fpermissive", "-fconcepts", "-fconcepts-ts", "-fcoroutines",
      "-fdiagnostics-color=never", "-fdiagnostics-color=auto", "-fdiagnostics-color=always",
      "-pthread", "-pedantic", "-pedantic-errors", "-m64", "-mavx", "-msse", "-mf16c", "-mfma",
      "-mbmi", "-mpopcnt", "-march=x86-64", "-mtune=generic"], Nothing),
    (&["-ftemplate-depth=", "-fconstexpr-depth=", "-fconstexpr-loop-limit=", "-fconstexpr-ops-limit=",
      "-fconstexpr-cache-depth=", "-fmax-errors=", "-fconcepts-diagnostics-depth="], Number),
    (&["-W", "-fno-", "-mavx", "-msse", "-mfma", "-mbmi", "-march=x86-64-v", "-march=armv"], Word),
    (&["-D"], Definition),
    (&["-U"], Name),
];

/// What may be passed to the CUDA front end.
#[rustfmt::skip]
pub(super) const CUDAFE: Stage = &[
    (&["--display_error_number", "--promote_warnings"], Nothing),
    (&["--diag_suppress=", "--diag_warning=", "--diag_error="], Word),
];

/// What may be passed to the packer of device images.
#[rustfmt::skip]
pub(super) const FATBIN: Stage = &[
    (&["-compress-all", "--compress-all"], Nothing),
    (&["-compress=", "--compress="], Switch),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_options_pass_and_neither_their_beginnings_nor_what_follows_them() {
        let admitted: &[(Stage, &str)] = &[
            (PTXAS, "-O3,-v,-warn-spills,--register-usage-level=5,-dlcm=ca"),
            (PTXAS, "--allow-expensive-optimizations=true"),
            (HOST, "-Wall,-Wno-unused-function,-Werror=return-type,-W,-w,-O3,-fno-strict-aliasing"),
            (HOST, "-DA,-DB=1.5,-DC=,-UD,-mavx512f,-msse4.2,-march=x86-64-v3,-ftemplate-depth=99"),
            (CUDAFE, "--diag_suppress=177,--diag_error=declared_but_not_referenced"),
            (FATBIN, "-compress-all"),
        ];
        for (stage, value) in admitted {
            assert!(admits(stage, value), "{value}");
        }
        let refused: &[(Stage, &str)] = &[
            (HOST, "-wrapper"),
            (HOST, "-wrapper,/bin/sh"),
            (HOST, "-D"),
            (HOST, "-U"),
            (HOST, "-I"),
            (HOST, "-D,-O2"),
            (HOST, "-D@source/opts.h"),
            (HOST, "-DA=@x"),
            (HOST, "-DA=*"),
            (HOST, "-D=1"),
            (HOST, "-UA=1"),
            (HOST, "-Wall,"),
            (HOST, "-Wall,@source/opts.h"),
            (HOST, "@source/opts.h"),
            (HOST, "-Wl"),
            (HOST, "-Wall -wrapper"),
            (HOST, "-W@x"),
            (HOST, "-O2x"),
            (HOST, "-ftemplate-depth="),
            (HOST, "-fno-"),
            (HOST, "-fno-%x"),
            (PTXAS, "-O"),
            (PTXAS, "--opt-level"),
            (PTXAS, "-optf=x"),
            (PTXAS, "-v,@x"),
            (PTXAS, "--register-usage-level"),
            (PTXAS, "--allow-expensive-optimizations"),
            (CUDAFE, "--diag_suppress=177,178"),
            (CUDAFE, "--diag_suppress=@x"),
            (CUDAFE, "--display_error_numberx"),
            (FATBIN, "-compress=x"),
            (FATBIN, "-compress-all=x"),
            (FATBIN, ""),
        ];
        for (stage, value) in refused {
            assert!(!admits(stage, value), "{value}");
        }
    }
}
