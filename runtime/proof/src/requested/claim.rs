//! The requested claim: what a compiler command asks for, whatever came of it.
//!
//! nvcc spells the same request in many ways (CUDA 13.0 nvcc documentation, "Options for Steering
//! GPU Code Generation"):
//!
//! | spelling | asks for |
//! |---|---|
//! | `-gencode arch=compute_100a,code=sm_100a` | machine code |
//! | `--generate-code=arch=compute_100a,code=[sm_100a,compute_100a]` | machine code and PTX |
//! | `-arch=sm_100a` | machine code and PTX |
//! | `-arch=compute_100a -code=sm_100a` | machine code |
//! | `-arch=native`, `all`, `all-major`, or nothing | whatever the toolkit or the machine has |
//!
//! The virtual architecture decides which feature macros the front end sees, so
//! `arch=compute_100,code=sm_100a` yields bytes that say `sm_100a` while the kernel was compiled
//! without what makes it so. The bytes cannot show that; the command can.

use std::collections::VecDeque;
use std::fmt;

use proofmark_packager::Arch;
use serde::{Deserialize, Serialize};

/// What form of code is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestedForm {
    /// Machine code, `sm_…`.
    MachineCode,
    /// PTX, `compute_…`.
    Ptx,
    /// LTO-IR, `lto_…`.
    Lto,
}

/// One image that the command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedImage {
    /// What the front end compiles against: the `compute_…` name, written with `sm_`.
    pub virtual_arch: Arch,
    /// What comes out.
    pub arch: Arch,
    /// In which form.
    pub form: RequestedForm,
}

impl fmt::Display for RequestedImage {
    /// Writes it as nvcc's `-gencode` would.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.form {
            RequestedForm::MachineCode => "sm",
            RequestedForm::Ptx => "compute",
            RequestedForm::Lto => "lto",
        };
        write!(formatter, "arch=compute_{},code={prefix}_{}", self.virtual_arch.code(), self.arch.code())
    }
}

/// Everything a command asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaim {
    /// The images, in the order of the command.
    pub images: Vec<RequestedImage>,
    /// Parts that leave the request open, in words: `-arch=native`, an unknown name, no
    /// architecture at all.
    pub unclear: Vec<String>,
    /// Parts that could hold more of the request but were not there to be read: a file of options
    /// that is gone, a variable that somebody else sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

impl RequestedClaim {
    /// Reads the arguments of one nvcc call, with or without the program in front. No option of
    /// any spelling is an error: what is not understood makes the claim unclear.
    pub fn from_command<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut arguments: VecDeque<String> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let mut reading = Reading::default();
        while let Some(argument) = arguments.pop_front() {
            reading.argument(&argument, &mut arguments);
        }
        reading.finish()
    }

    /// Joins the claims of several compiler calls that make one product.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for image in other.images {
            if !self.images.contains(&image) {
                self.images.push(image);
            }
        }
        for (into, from) in [(&mut self.unclear, other.unclear), (&mut self.unread, other.unread)] {
            for words in from {
                if !into.contains(&words) {
                    into.push(words);
                }
            }
        }
        self
    }

    /// The architectures for which it asks for machine code.
    pub fn machine_code(&self) -> impl Iterator<Item = Arch> {
        self.images.iter().filter(|image| image.form == RequestedForm::MachineCode).map(|image| image.arch)
    }
}

/// What has been read of a command so far.
#[derive(Default)]
struct Reading {
    claim: RequestedClaim,
    arch: Option<String>,
    codes: Vec<String>,
    has_gencode: bool,
    machine_code_only: bool,
    ptx_only: bool,
}

impl Reading {
    fn argument(&mut self, argument: &str, rest: &mut VecDeque<String>) {
        let Some(option) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { return };
        let (name, inline) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let mut value = || inline.map(str::to_owned).or_else(|| rest.pop_front());
        match name {
            "gencode" | "generate-code" => {
                self.has_gencode = true;
                match value() {
                    Some(value) => self.gencode(&value),
                    None => self.unclear("a -gencode without its value"),
                }
            }
            "arch" | "gpu-architecture" => {
                // Of several, nvcc takes the last (seen, 13.0).
                self.arch = value().map(|value| unquote(&value));
            }
            "code" | "gpu-code" => self.codes.extend(value().iter().flat_map(|value| names(value))),
            "cubin" => self.machine_code_only = true,
            "ptx" => self.ptx_only = true,
            "optf" | "options-file" => {
                let file = value().unwrap_or_default();
                self.claim.unread.push(format!("options in the file {file}"));
            }
            // Options for other programs are not nvcc's; their value must not be read as one.
            "Xcompiler" | "compiler-options" | "Xlinker" | "linker-options" | "Xptxas" | "ptxas-options"
            | "Xnvlink" | "nvlink-options" | "Xfatbin" | "fatbin-options" | "Xarchive"
            | "archive-options" | "Xcudafe" | "Xnvvm" | "Xopencc" | "Xcicc" | "o" | "output-file"
            | "odir" | "I" | "include-path" | "include" | "pre-include" | "isystem" | "system-include"
            | "D" | "define-macro" | "L" | "library-path" | "l" | "library" | "ccbin" | "compiler-bindir"
            | "MF" | "dependency-output" | "MT" | "MQ" | "std" | "x" => {
                value();
            }
            _ => {}
        }
    }

    /// Reads `arch=compute_100a,code=[sm_100a,compute_100a]`.
    fn gencode(&mut self, text: &str) {
        let plain = unquote(text);
        let parsed = plain.split_once(',').and_then(|(first, rest)| {
            let (first, rest) = (first.trim(), rest.trim());
            // Either half may come first (seen, 13.0).
            let arch = |text: &'_ str| text.strip_prefix("arch=").map(str::to_owned);
            let code = |text: &'_ str| text.strip_prefix("code=").map(str::to_owned);
            let swapped = || {
                let (codes, arch) = plain.rsplit_once(',')?;
                Some((arch.trim().strip_prefix("arch=")?.to_owned(), code(codes.trim())?))
            };
            arch(first).zip(code(rest)).or_else(swapped)
        });
        match parsed {
            Some((arch, codes)) => {
                for code in names(&codes) {
                    self.image(&arch, &code);
                }
            }
            // nvcc takes none without both halves.
            None => self.unclear(format!("-gencode {text}")),
        }
    }

    fn image(&mut self, virtual_name: &str, code: &str) {
        let virtual_arch = arch_named(virtual_name, "compute_").or_else(|| arch_named(virtual_name, "sm_"));
        let forms = [
            ("sm_", RequestedForm::MachineCode),
            ("compute_", RequestedForm::Ptx),
            ("lto_", RequestedForm::Lto),
        ];
        let real = forms.iter().find_map(|&(prefix, form)| Some((arch_named(code, prefix)?, form)));
        match (virtual_arch, real) {
            (Some(virtual_arch), Some((arch, form))) => {
                let image = RequestedImage { virtual_arch, arch, form };
                if !self.claim.images.contains(&image) {
                    self.claim.images.push(image);
                }
            }
            _ => self.unclear(format!("arch={virtual_name},code={code}")),
        }
    }

    fn unclear(&mut self, words: impl Into<String>) {
        self.claim.unclear.push(words.into());
    }

    fn finish(mut self) -> RequestedClaim {
        match (self.arch.take(), std::mem::take(&mut self.codes)) {
            (None, codes) if codes.is_empty() => {
                if !self.has_gencode {
                    self.unclear("no architecture: the toolkit's default");
                }
            }
            (None, codes) => self.unclear(format!("-code={} without -arch", codes.join(","))),
            (Some(arch), codes) => self.shorthand(&arch, codes),
        }
        let (machine_code_only, ptx_only) = (self.machine_code_only, self.ptx_only);
        self.claim.images.retain(|image| match image.form {
            RequestedForm::MachineCode => !ptx_only,
            RequestedForm::Ptx => !machine_code_only,
            RequestedForm::Lto => true,
        });
        self.claim
    }

    /// Reads `-arch` with or without `-code`.
    fn shorthand(&mut self, arch: &str, mut codes: Vec<String>) {
        if matches!(arch, "native" | "all" | "all-major") {
            return self.unclear(format!("-arch={arch}"));
        }
        if codes.is_empty() {
            codes.push(arch.to_owned());
            // A real architecture alone is short for itself and its PTX.
            codes.extend(arch.strip_prefix("sm_").map(|code| format!("compute_{code}")));
        }
        for code in codes {
            self.image(arch, &code);
        }
    }
}

fn arch_named(name: &str, prefix: &str) -> Option<Arch> {
    format!("sm_{}", name.trim().strip_prefix(prefix)?).parse().ok()
}

fn unquote(text: &str) -> String {
    text.chars().filter(|letter| !matches!(letter, '"' | '\'' | '\\')).collect()
}

/// The names in `[a,b]`, `a,b` or `"a,b"`.
fn names(text: &str) -> Vec<String> {
    unquote(text)
        .trim_matches(|letter| matches!(letter, '[' | ']'))
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The claim of a command that asks for machine code of one architecture, by its own features, and for nothing
    /// else.
    pub(in super::super) fn exact(arch: &str) -> RequestedClaim {
        let arch: Arch = arch.parse().unwrap();
        let image = RequestedImage { virtual_arch: arch, arch, form: RequestedForm::MachineCode };
        RequestedClaim { images: vec![image], ..RequestedClaim::default() }
    }

    fn claim(command: &str) -> RequestedClaim {
        RequestedClaim::from_command(command.split(' '))
    }

    fn written(command: &str) -> Vec<String> {
        claim(command)
            .images
            .iter()
            .map(|image| {
                let form = match image.form {
                    RequestedForm::MachineCode => "sm",
                    RequestedForm::Ptx => "ptx",
                    RequestedForm::Lto => "lto",
                };
                format!("{}>{form}_{}", image.virtual_arch.code(), image.arch.code())
            })
            .collect()
    }

    #[test]
    fn every_spelling_of_the_exact_request_reads_alike() {
        for command in [
            "nvcc -gencode arch=compute_100a,code=sm_100a k.cu",
            "nvcc -gencode=arch=compute_100a,code=sm_100a k.cu",
            "nvcc --generate-code arch=compute_100a,code=sm_100a k.cu",
            "nvcc --generate-code=arch=compute_100a,code=[sm_100a] k.cu",
            "nvcc -gencode=arch=compute_100a,code=\\\"sm_100a\\\" k.cu",
            "nvcc -arch=compute_100a -code=sm_100a k.cu",
            "nvcc --gpu-architecture compute_100a --gpu-code sm_100a k.cu",
            "nvcc -arch sm_100a -code sm_100a k.cu",
            "nvcc -cubin -arch=sm_100a k.cu",
        ] {
            assert_eq!(claim(command), exact("sm_100a"), "{command}");
        }
    }

    #[test]
    fn the_short_form_asks_for_ptx_too() {
        assert_eq!(written("nvcc -arch=sm_100a k.cu"), ["100a>sm_100a", "100a>ptx_100a"]);
        assert_eq!(written("nvcc -arch=compute_90 k.cu"), ["90>ptx_90"]);
        assert_eq!(
            written("nvcc -gencode arch=compute_90,code=[sm_90,compute_90,lto_90] k.cu"),
            ["90>sm_90", "90>ptx_90", "90>lto_90"]
        );
    }

    #[test]
    fn a_weaker_front_end_is_not_the_exact_request() {
        assert_eq!(written("nvcc -gencode arch=compute_100,code=sm_100a k.cu"), ["100>sm_100a"]);
        assert_eq!(written("nvcc -gencode arch=compute_100f,code=sm_100a k.cu"), ["100f>sm_100a"]);
    }

    #[test]
    fn open_requests_are_unclear() {
        for command in [
            "nvcc k.cu",
            "nvcc -arch=native k.cu",
            "nvcc -arch=all k.cu",
            "nvcc -arch=sm_100z k.cu",
            "nvcc -gencode",
            "nvcc -code=sm_100a k.cu",
            "nvcc -gencode arch=compute_100a k.cu",
        ] {
            assert!(!claim(command).unclear.is_empty(), "{command}");
        }
    }

    #[test]
    fn a_file_of_options_that_is_gone_leaves_the_request_unread() {
        let claim = claim("nvcc -gencode arch=compute_100a,code=sm_100a -optf more.txt k.cu");
        assert_eq!((claim.images.len(), claim.unread.len(), claim.unclear.len()), (1, 1, 0));
    }

    #[test]
    fn the_last_arch_counts_and_adds_to_gencode() {
        assert_eq!(written("nvcc -arch=sm_90 -arch=compute_80 k.cu"), ["80>ptx_80"]);
        assert_eq!(
            written("nvcc -arch=compute_90 -gencode=code=[sm_100a,sm_103a],arch=compute_100a k.cu"),
            ["100a>sm_100a", "100a>sm_103a", "90>ptx_90"]
        );
    }

    #[test]
    fn the_value_of_another_option_is_no_option() {
        let command = "nvcc -o -arch=sm_90 -D -arch=sm_80 -gencode arch=compute_100a,code=sm_100a k.cu";
        assert_eq!(claim(command), exact("sm_100a"));
    }

    #[test]
    fn options_for_other_programs_are_not_nvccs() {
        let command = "nvcc -Xptxas -arch=sm_90 -gencode arch=compute_100a,code=sm_100a k.cu";
        assert_eq!(claim(command), exact("sm_100a"));
    }
}
