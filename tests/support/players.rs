//! Players on the CPU: the pinned TVM-FFI, fixtures compiled against it, and a start without a GPU.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use proofmark::toolchain::data_folder::DataFolder;
use proofmark::toolchain::{FileDigests, Search, TvmFfi, search::find_tvm_ffi};
use proofmark_player::process::PlayerSpec;
use proofmark_player::protocol::{Answer, Home, Order, Role, Start};
use proofmark_player::{Player, PlayerEnd, PythonProgram, Refusals};

use super::{data_folder, repository};

/// What a call may take here.
pub const LIMIT: Duration = Duration::from_secs(20);
/// What importing torch may take.
const OPENING_LIMIT: Duration = Duration::from_secs(120);

/// The pinned TVM-FFI.
pub fn tvm_ffi() -> &'static TvmFfi {
    static FOUND: OnceLock<TvmFfi> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut search = Search::from_variables(|_| None);
        search.data = Some(DataFolder::at(data_folder()));
        find_tvm_ffi(&search, &mut FileDigests::forgetful()).expect("TVM-FFI is installed")
    })
}

/// The bytes of a fixture of `tests/fixtures/cpu`, compiled.
pub fn compile(source: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("kernels.so");
    let ffi = tvm_ffi();
    let compiled = Command::new("g++")
        .args(["-O1", "-std=c++17", "-shared", "-fPIC", "-I"])
        .arg(ffi.include_folder())
        .arg(repository().join("tests/fixtures/cpu").join(source))
        .arg("-o")
        .arg(&output)
        .arg("-L")
        .arg(ffi.library().parent().unwrap())
        .arg("-ltvm_ffi")
        .output()
        .expect("g++ is installed");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    std::fs::read(output).unwrap()
}

/// A player on the CPU that has got ready.
pub fn start(library: &[u8], host_bytes: [u64; 2]) -> Player {
    let program = Path::new(env!("CARGO_BIN_EXE_proofmark"));
    let cast = PlayerSpec { program, python: None, library, host_bytes, refusals: Refusals::Silent };
    let mut player = Player::start(&cast).unwrap();
    let start = Order::Start(Start {
        role: Role::Live,
        home: Home::Cpu,
        nonce: "abc".to_owned(),
        tvm_ffi: tvm_ffi().library().display().to_string(),
        cupti: Vec::new(),
        folders: Vec::new(),
        cache: String::new(),
    });
    let ready = player.ask(&start, LIMIT);
    assert!(matches!(ready, Ok(Answer::Ready { .. })), "{ready:?}");
    player
}

/// A player in Python on the CPU, and what getting ready came to.
pub fn start_python(
    program: &PythonProgram,
    role: Role,
    document: &[u8],
    host_bytes: [u64; 2],
) -> (Player, Result<Answer, PlayerEnd>) {
    let own = Path::new(env!("CARGO_BIN_EXE_proofmark"));
    let cast = PlayerSpec {
        program: own,
        python: Some(program),
        library: document,
        host_bytes,
        refusals: Refusals::Silent,
    };
    let mut player = Player::start(&cast).unwrap();
    let start = Order::Start(Start {
        role,
        home: Home::Cpu,
        nonce: "abc".to_owned(),
        tvm_ffi: String::new(),
        cupti: Vec::new(),
        folders: program.folder_texts(),
        cache: program.cache_text(),
    });
    let ready = player.ask(&start, OPENING_LIMIT);
    (player, ready)
}

/// Loads one symbol. Returns which protections this system lacks.
pub fn load(player: &mut Player, symbol: &str) -> Option<String> {
    match player.ask(&Order::Load { symbol: symbol.to_owned() }, LIMIT) {
        Ok(Answer::Ready { confinement_problem, .. }) => confinement_problem,
        other => panic!("{other:?}"),
    }
}
