//! The player against foreign code of every temper, on the CPU: no GPU is needed to find out whether
//! a crash, a hang or a lie ends as it should.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use proofmark_player::protocol::{Answer, Argument, Block, Clock, L2, Order};
use proofmark_player::{Player, PlayerEnd};

use crate::support::players::{self, LIMIT, compile, load};

/// Elements of the tensors.
const COUNT: usize = 1000;

/// The bytes of the fixture library, compiled once.
fn library() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| compile("kernels.cpp"))
}

fn start() -> Player {
    let bytes = (COUNT * 4) as u64;
    players::start(library(), [bytes, bytes])
}

/// A player with one kernel loaded and `(x, factor, y)` bound.
fn ready(symbol: &str) -> Player {
    let mut player = start();
    load(&mut player, symbol);
    bind(&mut player);
    player
}

fn bind(player: &mut Player) {
    let tensor = |block| Argument::Tensor {
        block,
        code: 2,
        bits: 32,
        shape: vec![i64::try_from(COUNT).unwrap()],
        strides: vec![1],
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

/// `(x, factor, y)` over 10 rows of 20, with gaps of two elements behind each element of a row and of ten behind a row.
fn bind_strided(player: &mut Player) -> Result<(), PlayerEnd> {
    let tensor = |block| Argument::Tensor {
        block,
        code: 2,
        bits: 32,
        shape: vec![10, 20],
        strides: vec![70, 3],
        offsets: vec![0],
    };
    let arguments = vec![tensor(Block::Inputs), Argument::Float(3.0), tensor(Block::Outputs)];
    player.tell(&Order::Bind { slots: 1, arguments }, LIMIT)
}

#[test]
fn tensors_with_strides_reach_the_kernel_and_nothing_beside_them_is_touched() {
    let mut player = start();
    load(&mut player, "scale_strided");
    bind_strided(&mut player).unwrap();
    write_inputs(&player);
    assert!(matches!(call(&mut player, LIMIT), Ok(Answer::Called(_))));
    assert_eq!((output(&player, 0), output(&player, 3), output(&player, 76)), (0.0, 9.0, 228.0));
    assert_eq!(
        (output(&player, 9 * 70 + 19 * 3), output(&player, 4), output(&player, 60)),
        (2061.0, 0.0, 0.0)
    );
}

#[test]
fn a_kernel_that_needs_contiguous_tensors_can_say_so() {
    let mut player = start();
    load(&mut player, "needs_contiguous");
    bind_strided(&mut player).unwrap();
    let raised = call(&mut player, LIMIT);
    assert!(
        matches!(&raised, Err(PlayerEnd::Raised { text }) if text.contains("x must be contiguous")),
        "{raised:?}"
    );
    bind(&mut player);
    assert!(matches!(call(&mut player, LIMIT), Ok(Answer::Called(_))), "contiguous ones it takes");
}

#[test]
fn a_tensor_that_reaches_out_of_its_block_is_refused() {
    for (shape, strides) in [(vec![2, 20], vec![2000, 1]), (vec![10], vec![-1]), (vec![10, 10], vec![1])] {
        let mut player = start();
        load(&mut player, "scale_strided");
        let tensor =
            Argument::Tensor { block: Block::Inputs, code: 2, bits: 32, shape, strides, offsets: vec![0] };
        let refused = player.tell(&Order::Bind { slots: 1, arguments: vec![tensor] }, LIMIT);
        assert!(matches!(refused, Err(PlayerEnd::Refused { .. })), "{refused:?}");
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
fn what_foreign_code_writes_steers_no_terminal() {
    let raised = call(&mut ready("steers"), LIMIT);
    let Err(PlayerEnd::Raised { text }) = &raised else { panic!("{raised:?}") };
    assert!(text.contains("\\u{1b}]0;owned\\u{7}\\u{202e}"), "{text:?}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let mut player = ready("steers");
    assert!(call(&mut player, LIMIT).is_err());
    let said = player.end();
    assert!(said.contains("\\u{1b}[2J") && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn refused_calls_are_shown_where_that_is_asked_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_proofmark"))
        .args(["player", "--show-refused-calls"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "the verb knows the flag, and still is of no use by hand");
}

#[test]
fn the_hidden_verb_is_of_no_use_by_hand() {
    let output = Command::new(env!("CARGO_BIN_EXE_proofmark")).arg("player").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
    let help = Command::new(env!("CARGO_BIN_EXE_proofmark")).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("player"));
}
