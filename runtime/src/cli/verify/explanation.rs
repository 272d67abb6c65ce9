//! Teaches how the answer was found and what it is worth.

use crate::proof::{Policy, ProofVerdict};

/// The lesson for one answer.
pub(super) fn text(verdict: ProofVerdict, policy: &Policy) -> String {
    let arch = policy.arch;
    let next = match verdict {
        ProofVerdict::Exact => {
            "Every witness agreed and every byte that could be device code was accounted for."
        }
        ProofVerdict::Mixed => {
            "The driver may pick another image than you measured. Build with one -gencode pair and no PTX, or \
             accept the rest with --allow-ptx and --allow."
        }
        ProofVerdict::Weaker => {
            "It may run, but not as what you asked for: other machine code lacks its features, and PTX and LTO-IR \
             are compiled later, by a driver or linker of that day. Build with -gencode \
             arch=compute_X,code=sm_X, the letter on both sides."
        }
        ProofVerdict::Absent => "Nothing in it would load as this architecture.",
        ProofVerdict::Contradicted => {
            "Someone or something changed one place and not the others, or put a header on foreign code. \
             NVIDIA's own fatbinary tool does so when asked: it checks only the number, not the letter. A stale \
             library beside a newer build file looks the same."
        }
        ProofVerdict::Unreadable => {
            "What cannot be read cannot be cleared: the named bytes could hold anything."
        }
    };
    format!(
        "
why this answer
  {next}

how {arch} shows in bytes
  entry header   number at +28, letter in the flags at +40: bit 20 is `a`, bit 21 is `f`. Easy to forge,
                 and the only place that shows `f`.
  e_flags        hold the number. Since toolkit 13.0 they are equal for sm_100, sm_100a and sm_100f, so they
                 prove no letter; 12.x kept the `a` there (0x8 from sm_100 on, 0x800 before).
  .nv.compat[9]  1 is `a`, 0 is not, since toolkit 13.0. Blackwell entries repeat the section in the header.
  tkinfo         the options that ptxas or nvlink was called with, as text.
  cuinfo, cuver  the number once more.
  The driver's own rule is not documented, so every place must agree.

what it cannot show
  The front end: arch=compute_100,code=sm_100a compiles without the features behind feature macros, and every
  marker above still says sm_100a. Only the command shows that; a build folder or log brings it in.
  Provenance: whoever forges all places alike forges a build. A rebuild that gives equal bytes goes further.
  Code made while the program runs, which the label runtime-jit points to."
    )
}
