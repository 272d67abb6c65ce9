//! Which kits a submission asks for: by what it includes, how it is bound, and what it names.

use std::collections::BTreeSet;

use proofmark_packager::SourceFile;
use proofmark_packager::submission::{IncludeKind, includes_of};

use super::interface::Interface;
use crate::toolchain::KitName;

/// The kits that sources ask for, and those that their headers need in turn. A header that is packed is not asked
/// for: a vendored CUTLASS stays the submission's own.
pub fn kits_of(sources: &[SourceFile], dependencies: &[String], interface: &Interface) -> BTreeSet<KitName> {
    let mut kits: BTreeSet<KitName> =
        dependencies.iter().filter_map(|name| KitName::of_dependency(name)).collect();
    if interface.is_torchs() {
        kits.insert(KitName::Torch);
    }
    for source in sources.iter().filter(|source| source.path.extension() != "py") {
        for include in includes_of(&source.content) {
            if include.kind != IncludeKind::Computed && !is_packed(sources, &include.name) {
                kits.extend(KitName::with_header(&include.name));
            }
        }
    }
    KitName::with_required(kits)
}

fn is_packed(sources: &[SourceFile], header: &str) -> bool {
    sources.iter().any(|source| {
        source
            .path
            .as_str()
            .strip_suffix(header)
            .is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.parse().unwrap(), content: text.to_owned() }
    }

    fn plain() -> Interface {
        Interface::TvmFfi { symbol: None }
    }

    #[test]
    fn includes_bindings_and_dependencies_ask_for_kits() {
        let kernel = [source("k.cu", "#include <cute/tensor.hpp>\n#include \"cuda_profiler_api.h\"\n")];
        let kits = kits_of(&kernel, &[], &plain());
        assert_eq!(kits, BTreeSet::from([KitName::Cutlass, KitName::ProfilerApi]));
        let empty = [source("k.cu", "#include <cuda_bf16.h>\n")];
        assert!(kits_of(&empty, &[], &plain()).is_empty());
        assert!(kits_of(&empty, &[], &Interface::Torch { module: "m".into() }).contains(&KitName::Python));
        assert!(kits_of(&empty, &["cublas".to_owned()], &plain()).contains(&KitName::Cublas));
    }

    #[test]
    fn a_vendored_header_is_the_submissions_own() {
        let files = [source("k.cu", "#include <cute/tensor.hpp>\n"), source("deps/cute/tensor.hpp", "\n")];
        assert!(kits_of(&files, &[], &plain()).is_empty());
        let other = [source("k.cu", "#include <cute/tensor.hpp>\n"), source("deps/execute/tensor.hpp", "\n")];
        assert!(!kits_of(&other, &[], &plain()).is_empty());
    }
}
