//! The third claim beside requested and built: the modules that really ran are the proven ones.

use std::collections::BTreeSet;

use proofmark_packager::Digest;

use super::span::Least;

/// What the driver's loads say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// Every module that was loaded after the library is one of the proof's images, and at least one
    /// of them was loaded.
    Proven,
    /// There is nothing to compare: no activity records, or no proof.
    Unknown,
    /// Something else was loaded.
    Foreign(String),
}

/// Compares loaded modules with proven images.
pub fn executed(own: &[Digest], loaded: &[Digest], proven: &[Digest], least: Least) -> Executed {
    let own: BTreeSet<_> = own.iter().collect();
    let new: Vec<_> = loaded.iter().filter(|module| !own.contains(module)).collect();
    if loaded.is_empty() || proven.is_empty() {
        return Executed::Unknown;
    }
    let proven: BTreeSet<_> = proven.iter().collect();
    if let Some(foreign) = new.iter().find(|module| !proven.contains(**module)) {
        return Executed::Foreign(format!(
            "it ran device code that was not proven: a module with digest {foreign} was loaded"
        ));
    }
    if new.is_empty() && least == Least::Kernel {
        return Executed::Foreign("none of the proven device images was loaded".to_owned());
    }
    Executed::Proven
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of_bytes(text.as_bytes())
    }

    #[test]
    fn accepts_proven_images_beside_our_own() {
        let (own, kernel) = (digest("instruments"), digest("kernel"));
        assert_eq!(executed(&[own], &[own, kernel], &[kernel], Least::Kernel), Executed::Proven);
    }

    #[test]
    fn names_code_that_was_not_proven() {
        let (own, kernel, other) = (digest("instruments"), digest("kernel"), digest("compiled at run time"));
        assert!(matches!(
            executed(&[own], &[own, kernel, other], &[kernel], Least::Kernel),
            Executed::Foreign(_)
        ));
        assert!(matches!(executed(&[own], &[own], &[kernel], Least::Kernel), Executed::Foreign(_)));
    }

    #[test]
    fn does_not_judge_without_records_or_proof() {
        assert_eq!(executed(&[], &[], &[digest("kernel")], Least::Kernel), Executed::Unknown);
        assert_eq!(executed(&[], &[digest("kernel")], &[], Least::Kernel), Executed::Unknown);
    }
}
