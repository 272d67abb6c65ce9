//! Which submissions can be measured at all.

use proofmark_packager::Artifact;
use proofmark_packager::submission::Binding;

use super::input::Input;
use super::request::Action;

/// A submission that is built and proven, but which only Python could call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is a torch extension: it is built and proven, and not measured yet", name.escape_debug())]
pub struct TorchExtension {
    /// The submission's name.
    pub name: String,
}

/// Refuses what no player can call.
pub fn check_measurable(artifact: &Artifact) -> Result<(), TorchExtension> {
    let manifest = artifact.manifest();
    if manifest.build.language.is_compiled() && manifest.build.binding == Some(Binding::Torch) {
        return Err(TorchExtension { name: manifest.solution.name.clone() });
    }
    Ok(())
}

impl Action {
    /// Refuses an action that has to measure what no player can call.
    pub(super) fn check_measurable(&self) -> Result<(), TorchExtension> {
        let of = |input: &Input| match input {
            Input::Artifact(bundle) => check_measurable(&bundle.artifact),
            Input::Library(_) => Ok(()),
        };
        match self {
            Self::Bench { subject, .. } => of(subject),
            Self::Compare { incumbent, candidate, .. } => of(incumbent).and_then(|()| of(candidate)),
            Self::Build { .. } | Self::Seal { .. } | Self::Replay { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proofmark_packager::interop::flashinfer::solution;

    use super::*;

    #[test]
    fn a_torch_extension_is_not_measured_and_a_python_entry_with_that_word_is() {
        let artifact = |language: &str, file: &str| {
            let text = format!(
                r#"{{"name":"n","definition":"d","author":"a","spec":{{"language":"{language}",
                "target_hardware":["cuda"],"entry_point":"{file}::run","dependencies":[],
                "destination_passing_style":true,"binding":"torch"}},"sources":[{{"path":"{file}","content":"x"}}]}}"#
            );
            solution::read(&text).unwrap()
        };
        assert!(check_measurable(&artifact("cuda", "k.cu")).is_err());
        assert_eq!(check_measurable(&artifact("python", "k.py")), Ok(()));
    }
}
