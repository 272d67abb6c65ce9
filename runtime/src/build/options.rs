//! The options of nvcc, and what may become of each in a submission.

use super::flags::Reason::{self, Architecture, NotReproducible, Output, Programs, Reads};
use super::stage::{self, CUDAFE, FATBIN, HOST, PTXAS};

use Fate::{Define, DeviceLink, Include, Keep, Library, Optimization, Refuse, Stage, Standard, Undefine};
use Takes::{Nothing, Value};

/// How an option takes its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
}

/// What happens to an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Standard,
    Optimization,
    Define,
    Undefine,
    Include,
    Library,
    DeviceLink,
    Stage(stage::Stage),
    Refuse(Reason),
}

/// Every option of nvcc that we have an opinion on: its spellings, its value, its fate.
#[rustfmt::skip]
pub(super) const OPTIONS: &[(&[&str], Takes, Fate)] = &[
    // Code generation.
    (&["-use_fast_math", "--use_fast_math"], Nothing, Keep),
    (&["-ftz", "--ftz", "-prec-div", "--prec-div", "-prec-sqrt", "--prec-sqrt", "-fmad", "--fmad"], Value,
      Keep),
    (&["-maxrregcount", "--maxrregcount"], Value, Keep),
    (&["-extra-device-vectorization", "--extra-device-vectorization"], Nothing, Keep),
    (&["-restrict", "--restrict"], Nothing, Keep),
    (&["-default-stream", "--default-stream"], Value, Keep),
    (&["-dopt", "--dopt", "-Ofc", "--Ofast-compile"], Value, Keep),
    (&["-split-compile", "--split-compile", "-t", "--threads"], Value, Keep),
    (&["-jtd", "--jump-table-density"], Value, Keep),
    (&["-keep-device-functions", "--keep-device-functions"], Nothing, Keep),
    (&["-ewp", "--extensible-whole-program"], Nothing, Keep),
    (&["-compress-mode", "--compress-mode"], Value, Keep),
    (&["-no-compress", "--no-compress"], Nothing, Keep),
    (&["-device-stack-protector", "--device-stack-protector"], Value, Keep),
    (&["-static-global-template-stub", "--static-global-template-stub"], Value, Keep),
    (&["-device-entity-has-hidden-visibility", "--device-entity-has-hidden-visibility"], Value, Keep),
    (&["-lineinfo", "--generate-line-info"], Nothing, Keep),
    (&["-res-usage", "--resource-usage"], Nothing, Keep),
    // Language.
    (&["-std", "--std"], Value, Standard),
    (&["-O", "--optimize"], Value, Optimization),
    (&["-D", "--define-macro"], Value, Define),
    (&["-U", "--undefine-macro"], Value, Undefine),
    (&["-I", "--include-path"], Value, Include),
    (&["-expt-relaxed-constexpr", "--expt-relaxed-constexpr"], Nothing, Keep),
    (&["-extended-lambda", "--extended-lambda", "-expt-extended-lambda", "--expt-extended-lambda"], Nothing,
      Keep),
    (&["-ftemplate-depth", "--ftemplate-depth"], Value, Keep),
    (&["-ftemplate-backtrace-limit", "--ftemplate-backtrace-limit"], Value, Keep),
    (&["-nohdinitlist", "--no-host-device-initializer-list"], Nothing, Keep),
    (&["-nohdmoveforward", "--no-host-device-move-forward"], Nothing, Keep),
    (&["-noeh", "--no-exceptions"], Nothing, Keep),
    (&["-m", "--machine"], Value, Keep),
    (&["-m64", "--m64"], Nothing, Keep),
    // Diagnostics.
    (&["-w", "--disable-warnings"], Nothing, Keep),
    (&["-Wreorder", "--Wreorder", "-Wdefault-stream-launch", "--Wdefault-stream-launch"], Nothing, Keep),
    (&["-Wmissing-launch-bounds", "--Wmissing-launch-bounds"], Nothing, Keep),
    (&["-Wext-lambda-captures-this", "--Wext-lambda-captures-this"], Nothing, Keep),
    (&["-Wno-deprecated-declarations", "--Wno-deprecated-declarations"], Nothing, Keep),
    (&["-Wno-deprecated-gpu-targets", "--Wno-deprecated-gpu-targets"], Nothing, Keep),
    (&["-Werror", "--Werror"], Value, Keep),
    (&["-diag-suppress", "--diag-suppress", "-diag-warn", "--diag-warn", "-diag-error", "--diag-error"],
      Value, Keep),
    (&["-err-no", "--display-error-number", "-no-err-no", "--no-display-error-number"], Nothing, Keep),
    (&["-brief-diag", "--brief-diagnostics"], Value, Keep),
    // Stages.
    (&["-Xptxas", "--ptxas-options"], Value, Stage(PTXAS)),
    (&["-Xcompiler", "--compiler-options"], Value, Stage(HOST)),
    (&["-Xcudafe"], Value, Stage(CUDAFE)),
    (&["-Xfatbin"], Value, Stage(FATBIN)),
    // Linking.
    (&["-rdc", "--relocatable-device-code"], Value, DeviceLink),
    (&["-l", "--library"], Value, Library),
    // Refused.
    (&["-gencode", "--generate-code", "-arch", "--gpu-architecture", "-code", "--gpu-code"], Value,
      Refuse(Architecture)),
    (&["-dlto", "--dlink-time-opt", "-lto", "--lto", "-gen-opt-lto", "-ltoir", "--ltoir"], Nothing,
      Refuse(Architecture)),
    (&["-o", "--output-file", "-odir", "--output-directory", "-keep-dir", "--keep-dir", "-x", "--x"], Value,
      Refuse(Output)),
    (&["-c", "--compile", "-dc", "--device-c", "-dw", "--device-w", "-dlink", "--device-link", "-link",
      "--link", "-lib", "--lib", "-run", "--run", "-shared", "--shared", "-cubin", "--cubin", "-ptx",
      "--ptx", "-fatbin", "--fatbin", "-cuda", "--cuda", "-E", "--preprocess", "-optix-ir", "--optix-ir",
      "-M", "-MM", "-MD", "-MMD", "-MP", "-keep", "--keep", "-save-temps", "--save-temps", "-dryrun",
      "--dryrun", "-objtemp", "--objdir-as-tempdir", "-clean", "--clean-targets", "-r",
      "--relocatable-link", "-v", "--verbose", "-fdevice-syntax-only", "-h", "--help", "-V", "--version",
      "-noprof"], Nothing, Refuse(Output)),
    (&["-MF", "--dependency-output", "-MT", "--dependency-target-name", "-time", "--time",
      "-fdevice-time-trace", "--fdevice-time-trace", "-cudart", "--cudart", "-cudadevrt", "--cudadevrt"],
      Value, Refuse(Output)),
    (&["-include", "--pre-include", "-optf", "--options-file", "-isystem", "--system-include", "-L",
      "--library-path", "-ldir", "--libdevice-directory", "-target-dir", "--target-directory"], Value,
      Refuse(Reads)),
    (&["-ccbin", "--compiler-bindir", "-arbin", "--archiver-binary", "-Xlinker", "--linker-options",
      "-Xnvlink", "--nvlink-options", "-Xarchive", "--archive-options", "-sanitize", "--sanitize"], Value,
      Refuse(Programs)),
    (&["-forward-unknown-opts", "--forward-unknown-opts", "-forward-unknown-to-host-compiler",
      "--forward-unknown-to-host-compiler", "-forward-unknown-to-host-linker",
      "--forward-unknown-to-host-linker", "-allow-unsupported-compiler", "--allow-unsupported-compiler",
      "-use-local-env", "--use-local-env"], Nothing, Refuse(Programs)),
    (&["-G", "--device-debug", "-g", "--debug", "-pg", "--profile", "-src-in-ptx", "--source-in-ptx"],
      Nothing, Refuse(NotReproducible)),
    (&["-frandom-seed", "--frandom-seed"], Value, Refuse(NotReproducible)),
];
