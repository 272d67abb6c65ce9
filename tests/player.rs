//! The player against foreign code of every temper, on the CPU: no GPU is needed to find out whether
//! a crash, a hang or a lie ends as it should.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use proofmark::toolchain::data_folder::DataFolder;
use proofmark::toolchain::install::{Existing, Unwatched, WheelSource};
use proofmark::toolchain::lock_file::ComponentName;
use proofmark::toolchain::{FileDigests, InstallRequest, Search, TvmFfi, install, search::find_tvm_ffi};
use proofmark_player::process::PlayerSpec;
use proofmark_player::protocol::{Answer, Argument, Block, Clock, Home, L2, Order, Start};
use proofmark_player::{Player, PlayerEnd};

use crate::support::repository;

/// Elements of the tensors.
const COUNT: usize = 1000;
/// What a call may take here.
const LIMIT: Duration = Duration::from_secs(20);

/// The pinned TVM-FFI: from `PROOFMARK_DATA`, else installed once into the target folder.
fn tvm_ffi() -> &'static TvmFfi {
    static FOUND: OnceLock<TvmFfi> = OnceLock::new();
    FOUND.get_or_init(|| {
        let place = std::env::var_os("PROOFMARK_DATA")
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchain"), PathBuf::from);
        let data = DataFolder::at(place);
        let request = InstallRequest {
            data: data.clone(),
            machine: std::env::consts::ARCH.to_owned(),
            components: vec![ComponentName::TvmFfi],
            wheels: WheelSource::Pip { python: PathBuf::from("python3") },
            existing: Existing::Keep,
        };
        install(&request, &mut Unwatched).expect("the pinned toolchain can be installed");
        let mut search = Search::from_variables(|_| None);
        search.data = Some(data);
        find_tvm_ffi(&search, &mut FileDigests::forgetful()).expect("TVM-FFI was just installed")
    })
}

/// The bytes of the fixture library, compiled once.
fn library() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("kernels.so");
        let ffi = tvm_ffi();
        let compiled = Command::new("g++")
            .args(["-O1", "-std=c++17", "-shared", "-fPIC", "-I"])
            .arg(ffi.include_folder())
            .arg(repository().join("tests/fixtures/cpu/kernels.cpp"))
            .arg("-o")
            .arg(&output)
            .arg("-L")
            .arg(ffi.library().parent().unwrap())
            .arg("-ltvm_ffi")
            .output()
            .expect("g++ is installed");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        std::fs::read(output).unwrap()
    })
}

fn start() -> Player {
    let bytes = (COUNT * 4) as u64;
    let program = Path::new(env!("CARGO_BIN_EXE_proofmark"));
    let mut player =
        Player::start(&PlayerSpec { program, library: library(), host_bytes: [bytes, bytes] }).unwrap();
    let start = Order::Start(Start {
        home: Home::Cpu,
        nonce: "abc".to_owned(),
        tvm_ffi: tvm_ffi().library().display().to_string(),
        cupti: Vec::new(),
    });
    assert!(matches!(player.ask(&start, LIMIT), Ok(Answer::Ready { .. })));
    player
}

/// A player with one kernel loaded and `(x, factor, y)` bound.
fn ready(symbol: &str) -> Player {
    let mut player = start();
    let loaded = player.ask(&Order::Load { symbol: symbol.to_owned() }, LIMIT);
    let Ok(Answer::Ready { confinement_problem, .. }) = loaded else { panic!("{loaded:?}") };
    if !confinement_problem.is_empty() {
        eprintln!("this system offers less protection than the player wants: {confinement_problem}");
    }
    bind(&mut player);
    player
}

fn bind(player: &mut Player) {
    let tensor = |block| Argument::Tensor {
        block,
        code: 2,
        bits: 32,
        shape: vec![i64::try_from(COUNT).unwrap()],
        offsets: vec![0],
    };
    let arguments = vec![tensor(Block::Inputs), Argument::Float(3.0), tensor(Block::Outputs)];
    player.tell(&Order::Bind { slots: 1, arguments }, LIMIT).unwrap();
}

fn call(player: &mut Player, limit: Duration) -> Result<Answer, PlayerEnd> {
    player.ask(&Order::Call(0, Clock::Host, L2::AsIs), limit)
}

fn write_inputs(player: &Player) {
    let bytes: Vec<u8> =
        (0..u16::try_from(COUNT).unwrap()).flat_map(|index| f32::from(index).to_le_bytes()).collect();
    player.host()[0].write(0, &bytes).unwrap();
}

fn output(player: &Player, index: usize) -> f32 {
    let mut bytes = [0; 4];
    player.host()[1].read(index as u64 * 4, &mut bytes).unwrap();
    f32::from_le_bytes(bytes)
}

#[test]
fn calls_kernels_with_both_kinds_of_tensor_parameters() {
    for symbol in ["scale", "scale_owned"] {
        let mut player = ready(symbol);
        write_inputs(&player);
        for _ in 0..3 {
            assert!(matches!(call(&mut player, LIMIT), Ok(Answer::Called(_))), "{symbol}");
        }
        assert_eq!((output(&player, 0), output(&player, 999)), (0.0, 2997.0), "{symbol}");
    }
}

#[test]
fn an_error_of_the_kernel_keeps_its_message_and_the_player() {
    let mut player = ready("raises");
    for _ in 0..2 {
        let raised = call(&mut player, LIMIT);
        assert!(
            matches!(&raised, Err(PlayerEnd::Raised { text }) if text.contains("not today")),
            "{raised:?}"
        );
    }
    let mismatch = call(&mut ready("wrong_signature"), LIMIT);
    assert!(
        matches!(&mismatch, Err(PlayerEnd::Raised { text }) if text.contains("TypeError")),
        "{mismatch:?}"
    );
}

#[test]
fn a_missing_symbol_is_refused_by_name() {
    let missing = start().ask(&Order::Load { symbol: "nothing".to_owned() }, LIMIT);
    assert!(
        matches!(&missing, Err(PlayerEnd::Refused { text }) if text.contains("__tvm_ffi_nothing")),
        "{missing:?}"
    );
}

#[test]
fn leaving_with_exit_code_zero_and_a_fake_result_is_no_answer() {
    let mut player = ready("leaves");
    let gone = call(&mut player, LIMIT);
    assert!(matches!(&gone, Err(PlayerEnd::Gone { how, .. }) if how.contains("code 0")), "{gone:?}");
    assert!(player.end().contains("\"verdict\": \"passed\""), "its words are kept, and mean nothing");
}

#[test]
fn crashes_end_the_player_with_their_signal() {
    for (symbol, signal) in [("crashes", "segmentation fault"), ("aborts", "abort")] {
        let gone = call(&mut ready(symbol), LIMIT);
        assert!(
            matches!(&gone, Err(PlayerEnd::Gone { how, .. }) if how.contains(signal)),
            "{symbol}: {gone:?}"
        );
    }
}

#[test]
fn a_hang_ends_at_its_limit_and_so_does_the_process() {
    let mut player = ready("hangs");
    let process = PathBuf::from(format!("/proc/{}", player.id()));
    let begun = Instant::now();
    let hung = call(&mut player, Duration::from_millis(300));
    assert!(matches!(hung, Err(PlayerEnd::TimedOut { limit_ms: 300, .. })), "{hung:?}");
    player.end();
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    assert!(!process.exists());
}

#[test]
fn hanging_up_without_ending_is_seen() {
    let gone = call(&mut ready("hangs_up"), LIMIT);
    assert!(matches!(&gone, Err(PlayerEnd::Gone { how, .. }) if how.contains("went on running")), "{gone:?}");
}

#[test]
fn nonsense_over_the_conversation_ends_it() {
    let nonsense = call(&mut ready("babbles"), LIMIT);
    assert!(matches!(nonsense, Err(PlayerEnd::Nonsense { .. })), "{nonsense:?}");
}

#[test]
fn leaked_threads_are_counted_and_end_with_the_player() {
    let mut player = ready("leaks_threads");
    write_inputs(&player);
    let before = player.threads().unwrap();
    assert!(call(&mut player, LIMIT).is_ok());
    assert_eq!(player.threads().unwrap(), before + 4);
    let process = PathBuf::from(format!("/proc/{}", player.id()));
    player.end();
    assert!(!process.exists());
}

#[test]
fn a_flood_of_output_neither_blocks_nor_fills_memory() {
    let mut player = ready("floods");
    write_inputs(&player);
    assert!(call(&mut player, LIMIT).is_ok());
    let kept = player.end();
    assert!(kept.contains("line 0 of") && kept.contains("line 99999 of") && kept.len() < 64 * 1024);
}

#[test]
fn foreign_code_can_neither_start_processes_nor_reach_out() {
    let mut player = start();
    let loaded = player.ask(&Order::Load { symbol: "breaks_out".to_owned() }, LIMIT);
    let Ok(Answer::Ready { confinement_problem, .. }) = loaded else { panic!("{loaded:?}") };
    if !confinement_problem.is_empty() {
        eprintln!("SKIPPED: this kernel cannot confine: {confinement_problem}");
        return;
    }
    bind(&mut player);
    let raised = call(&mut player, LIMIT);
    assert!(matches!(&raised, Err(PlayerEnd::Raised { text }) if text.contains("allowed:.")), "{raised:?}");
}

#[test]
fn the_hidden_verb_is_of_no_use_by_hand() {
    let output = Command::new(env!("CARGO_BIN_EXE_proofmark")).arg("player").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
    let help = Command::new(env!("CARGO_BIN_EXE_proofmark")).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("player"));
}
