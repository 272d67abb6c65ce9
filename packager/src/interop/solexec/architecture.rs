//! Which architecture a list of flags asks for.

use crate::target::Arch;

/// What the flags of a solution ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// None of them names an architecture: the board adds one.
    Nothing,
    /// One, exactly: its own virtual architecture and no other code.
    Exact(Arch),
    /// One, and PTX for those after it: `-arch=sm_100`.
    WithPtx(Arch),
    /// Something else, as written.
    Other(String),
}

/// Splits a list into the architecture that it asks for and the other flags.
pub fn split(flags: &[String]) -> (Asked, Vec<String>) {
    const SHORT: [&str; 2] = ["-arch", "--gpu-architecture"];
    const WITH_VALUE: [&str; 4] = ["-gencode", "--generate-code", "-arch", "--gpu-architecture"];
    let (mut asked, mut others) = (Vec::new(), Vec::new());
    let mut rest = flags.iter();
    while let Some(flag) = rest.next() {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag.as_str(), None),
        };
        if WITH_VALUE.contains(&name) {
            asked.push((name, value.or_else(|| rest.next().cloned()).unwrap_or_default()));
        } else {
            others.push(flag.clone());
        }
    }
    let asked = match asked.as_slice() {
        [] => Asked::Nothing,
        [(name, one)] => match (exact(one), one.parse()) {
            (Some(arch), _) => Asked::Exact(arch),
            (None, Ok(arch)) if SHORT.contains(name) => Asked::WithPtx(arch),
            _ => Asked::Other(one.clone()),
        },
        several => Asked::Other(several.iter().map(|(_, one)| one.as_str()).collect::<Vec<_>>().join(" ")),
    };
    (asked, others)
}

/// `arch=compute_100a,code=sm_100a` is exactly that.
fn exact(value: &str) -> Option<Arch> {
    let rest = value.strip_prefix("arch=compute_")?;
    let (virtual_arch, code) = rest.split_once(",code=")?;
    let arch: Arch = code.parse().ok()?;
    (arch.code() == virtual_arch).then_some(arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(flags: &str) -> (Asked, String) {
        let flags: Vec<String> = flags.split(' ').map(str::to_owned).collect();
        let (asked, others) = split(&flags);
        (asked, others.join(" "))
    }

    #[test]
    fn only_a_matching_pair_is_exact() {
        let exact = Asked::Exact(Arch::SM_100A);
        let others = "-O3 --use_fast_math".to_owned();
        for flags in [
            "-O3 -gencode=arch=compute_100a,code=sm_100a --use_fast_math",
            "-gencode arch=compute_100a,code=sm_100a -O3 --use_fast_math",
            "-O3 --use_fast_math --generate-code=arch=compute_100a,code=sm_100a",
        ] {
            assert_eq!(split_of(flags), (exact.clone(), others.clone()), "{flags}");
        }
        assert_eq!(split_of("-O3 --use_fast_math"), (Asked::Nothing, others));
    }

    #[test]
    fn a_name_alone_brings_ptx_with_it() {
        let others = "-O3".to_owned();
        for flags in ["-arch=sm_100a -O3", "-O3 --gpu-architecture sm_100a"] {
            assert_eq!(split_of(flags), (Asked::WithPtx(Arch::SM_100A), others.clone()), "{flags}");
        }
    }

    #[test]
    fn anything_else_is_told_as_it_stands() {
        for (flags, told) in [
            ("-arch=native", "native"),
            ("-gencode=sm_100a", "sm_100a"),
            ("-arch=compute_100", "compute_100"),
            ("-gencode=arch=compute_100,code=sm_100a", "arch=compute_100,code=sm_100a"),
            ("-gencode=arch=compute_90,code=[sm_90,compute_90]", "arch=compute_90,code=[sm_90,compute_90]"),
            ("-arch sm_90 -arch=sm_100a", "sm_90 sm_100a"),
            ("-gencode", ""),
        ] {
            assert_eq!(split_of(flags), (Asked::Other(told.to_owned()), String::new()), "{flags}");
        }
    }
}
