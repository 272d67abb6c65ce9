//! The identity of everything that turns sources into a library, headers aside.
//!
//! | enters the digest | why |
//! |---|---|
//! | nvcc's release | people read it |
//! | nvcc, nvcc.profile, cudafe++, cicc, libdevice, ptxas, fatbinary, nvlink, link stubs | they make the device code |
//! | `libcudart_static.a`, `libcudadevrt.a` | they are linked into the library |
//! | g++, cc1plus, collect2, as, ld, and what g++ and ld call themselves | they make the host code |
//! | TVM-FFI's version and library | the library is linked against it |
//! | the kits of a build that asks for some, and their versions | they are searched for headers |
//!
//! No path, no time and no machine name enters. Headers are named by each build's dependencies.

use proofmark_packager::{Digest, DigestBuilder};
use serde::{Deserialize, Serialize};

use super::host_compiler::HostCompiler;
use super::kit::Kit;
use super::toolkit::{Release, Toolkit};
use super::tvm_ffi::TvmFfi;

/// What identifies a toolchain, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The CUDA compiler's release.
    pub release: Release,
    /// What the host compiler calls itself.
    pub host_compiler: String,
    /// What the linker calls itself.
    pub linker: String,
    /// TVM-FFI's version.
    pub tvm_ffi: String,
    /// Every file, by its role, with its digest.
    pub parts: Vec<Part>,
}

/// One file of a toolchain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its role: `<cuda>/bin/ptxas`, `<host>/cc1plus`, `<tvm-ffi>/lib/libtvm_ffi.so`.
    pub role: String,
    /// The digest of its content.
    pub sha256: Digest,
}

impl Fingerprint {
    pub(crate) fn of(toolkit: &Toolkit, host: &HostCompiler, tvm_ffi: &TvmFfi) -> Self {
        let part = |role: String, sha256: &Digest| Part { role, sha256: *sha256 };
        let cuda = toolkit.stages.iter().map(|(file, digest)| part(format!("<cuda>/{file}"), digest));
        let host_parts = host.programs.iter().map(|(name, digest)| part(format!("<host>/{name}"), digest));
        let library = part("<tvm-ffi>/lib/libtvm_ffi.so".to_owned(), &tvm_ffi.library_digest);
        Self {
            release: toolkit.release,
            host_compiler: host.version.clone(),
            linker: host.linker_version.clone(),
            tvm_ffi: tvm_ffi.version.clone(),
            parts: cuda.chain(host_parts).chain([library]).collect(),
        }
    }

    /// The same with the kits of one build.
    #[must_use]
    pub fn with_kits(mut self, kits: &[Kit]) -> Self {
        let part = |kit: &Kit| {
            let role = format!("<kit>/{}-{}", kit.name.as_str(), kit.version);
            Part { role, sha256: kit.digest }
        };
        self.parts.extend(kits.iter().map(part));
        self
    }

    /// One digest over all of it.
    pub fn digest(&self) -> Digest {
        DigestBuilder::new("proofmark/toolchain/1")
            .text(&self.release.to_string())
            .text(&self.host_compiler)
            .text(&self.linker)
            .text(&self.tvm_ffi)
            .list(self.parts.iter(), |hash, part| hash.text(&part.role).digest(&part.sha256))
            .finish()
    }

    /// What differs from another one, each as a phrase: `the host compiler (g++ 12.2 → g++ 13.3)`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                found.push(format!("{what} ({ours} → {theirs})"));
            }
        };
        compare("the CUDA release", &self.release.to_string(), &other.release.to_string());
        compare("the host compiler", &self.host_compiler, &other.host_compiler);
        compare("the linker", &self.linker, &other.linker);
        compare("TVM-FFI", &self.tvm_ffi, &other.tvm_ffi);
        for part in &self.parts {
            match other.parts.iter().find(|candidate| candidate.role == part.role) {
                Some(same) if same.sha256 == part.sha256 => {}
                Some(_) => found.push(format!("the content of {}", part.role)),
                None => found.push(format!("{} is gone", part.role)),
            }
        }
        let new = |part: &&Part| self.parts.iter().all(|known| known.role != part.role);
        found.extend(other.parts.iter().filter(new).map(|part| format!("{} is new", part.role)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(parts: &[(&str, &str)]) -> Fingerprint {
        let part = |(role, content): &(&str, &str)| Part {
            role: (*role).to_owned(),
            sha256: Digest::of_bytes(content.as_bytes()),
        };
        Fingerprint {
            release: "13.0.88".parse().unwrap(),
            host_compiler: "g++ 12".to_owned(),
            linker: "ld 2.40".to_owned(),
            tvm_ffi: "0.1.15".to_owned(),
            parts: parts.iter().map(part).collect(),
        }
    }

    #[test]
    fn says_in_words_what_changed() {
        let old = fingerprint(&[("<cuda>/bin/ptxas", "a"), ("<host>/as", "b"), ("<host>/old", "c")]);
        let mut new = fingerprint(&[("<cuda>/bin/ptxas", "A"), ("<host>/as", "b"), ("<host>/new", "c")]);
        new.host_compiler = "g++ 13".to_owned();
        let words = [
            "the host compiler (g++ 12 → g++ 13)",
            "the content of <cuda>/bin/ptxas",
            "<host>/old is gone",
            "<host>/new is new",
        ];
        assert_eq!(old.differences(&new), words);
        assert!(old.differences(&old).is_empty());
    }

    #[test]
    fn any_part_changes_the_digest() {
        let one = fingerprint(&[("<cuda>/bin/ptxas", "a"), ("<host>/as", "b")]);
        let other = fingerprint(&[("<cuda>/bin/ptxas", "a"), ("<host>/as", "B")]);
        assert_ne!(one.digest(), other.digest());
        let third = fingerprint(&[("<cuda>/bin/ptxas", "A"), ("<host>/as", "b")]);
        assert_ne!(one.digest(), third.digest());
    }
}
