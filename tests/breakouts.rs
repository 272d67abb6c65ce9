//! What foreign code tries from inside a player, each attempt by its name, and what it must still be able
//! to do. The attempts are in `fixtures/cpu/breakouts.cpp`, and run as a kernel on the CPU.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;

use proofmark_player::protocol::{Answer, Argument, Block, Clock, L2, Order};

use crate::support::players::{LIMIT, compile, load, start};

/// Room for an attempt's name and a path, and for the names of all.
const BLOCK_BYTES: u64 = 8192;
/// The errors by which a protection refuses; any other means that the attempt got past it.
const REFUSALS: [&str; 3] = ["errno 1", "errno 13", "errno 38"]; // EPERM, EACCES, ENOSYS
/// What the file holds that is somebody else's.
const SECRET: &str = "the seed";

fn library() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| compile("breakouts.cpp"))
}

/// Lets foreign code try, and returns what it says and which protections this system lacks.
fn attempt(name: &str, victim: &Path) -> (String, Option<String>) {
    let mut player = start(library(), [BLOCK_BYTES, BLOCK_BYTES]);
    let missing = load(&mut player, "attempt");
    let tensor = |block| Argument::Tensor {
        block,
        code: 1,
        bits: 8,
        shape: vec![8192],
        strides: vec![1],
        offsets: vec![0],
    };
    let arguments = vec![tensor(Block::Inputs), Argument::Float(0.0), tensor(Block::Outputs)];
    player.tell(&Order::Bind { slots: 1, arguments }, LIMIT).unwrap();
    let input = format!("{name}\0{}\0", victim.display());
    player.host()[0].write(0, input.as_bytes()).unwrap();
    let called = player.ask(&Order::Call(0, Clock::Host, L2::AsIs), LIMIT);
    assert!(matches!(called, Ok(Answer::Called(_))), "{name}: {called:?}");
    let mut output = vec![0; usize::try_from(BLOCK_BYTES).unwrap()];
    player.host()[1].read(0, &mut output).unwrap();
    let said = output.split(|byte| *byte == 0).next().unwrap();
    (String::from_utf8(said.to_vec()).unwrap(), missing)
}

/// A file of somebody else's, in a folder of its own.
fn victim() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.jsonl");
    std::fs::write(&path, SECRET).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    (folder, path)
}

#[track_caller]
fn is_refused(name: &str) {
    let (folder, path) = victim();
    let (said, missing) = attempt(name, &path);
    assert!(REFUSALS.contains(&said.as_str()), "{name}: {said}; this system lacks: {missing:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), SECRET, "{name}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644, "{name}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "{name}");
}

#[track_caller]
fn works(name: &str) {
    let (said, _) = attempt(name, &victim().1);
    assert_eq!(said, "allowed", "{name}");
}

/// One test for each attempt, named as it is.
macro_rules! attempts {
    ($check:ident: $($name:ident,)*) => {
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            super::$check(stringify!($name));
        })*
    };
}

mod a_player_cannot {
    attempts! { is_refused:
        fork,
        fork_by_clone,
        fork_by_clone_with_upper_bits,
        fork_by_clone3,
        spawn,
        execute,
        execute_a_descriptor,
        read_a_file,
        read_a_file_through_its_own_root,
        read_a_file_through_a_thread,
        list_a_folder,
        write_a_file,
        append_to_a_file,
        empty_a_file,
        empty_a_file_by_opening,
        empty_a_file_by_reading,
        empty_a_file_by_creat,
        make_a_file,
        make_a_file_beside_another,
        make_a_file_in_shared_memory,
        make_an_unnamed_file,
        make_a_file_by_openat2,
        make_a_folder,
        make_a_device,
        make_a_fifo,
        remove_a_file,
        rename_a_file,
        link_a_file,
        make_a_symbolic_link,
        change_the_mode_of_a_file,
        change_the_mode_of_a_descriptor,
        change_the_mode_by_fchmodat2,
        change_the_owner_of_a_file,
        change_the_owner_of_a_descriptor,
        change_the_times_of_a_file,
        change_the_attributes_of_a_file,
        lock_a_descriptor,
        open_a_file_by_handle,
        read_the_judges_command_line,
        read_the_judges_environment,
        read_the_judges_mappings,
        read_the_judges_status,
        open_the_judges_memory,
        list_the_judges_descriptors,
        list_processes,
        trace_the_judge,
        read_the_judges_memory,
        write_the_judges_memory,
        open_the_judge_as_a_descriptor,
        take_a_descriptor_of_the_judge,
        compare_with_the_judge,
        advise_the_judges_memory,
        move_the_judges_pages,
        migrate_the_judges_pages,
        signal_the_judge,
        signal_its_group,
        signal_everybody,
        signal_a_thread_of_the_judge,
        signal_any_thread,
        queue_a_signal_to_the_judge,
        signal_by_descriptor,
        set_the_owner_of_a_descriptor,
        set_the_owner_by_its_kind,
        choose_a_descriptors_signal,
        ask_for_signals,
        take_a_lease,
        ask_for_notices,
        ask_for_signals_by_ioctl,
        set_the_owner_by_ioctl,
        set_the_group_by_ioctl,
        set_the_owner_by_ioctl_with_upper_bits,
        type_into_a_terminal,
        steal_a_terminal,
        follow_another_parents_end,
        limit_the_judge,
        ask_for_the_judges_limits,
        slow_the_judge,
        hasten_itself,
        pin_the_judge,
        schedule_the_judge,
        schedule_the_judge_by_parameters,
        schedule_the_judge_by_attributes,
        slow_the_judges_disk,
        leave_its_session,
        leave_its_group,
        open_an_internet_socket,
        open_a_newer_internet_socket,
        open_a_local_socket,
        open_a_kernel_socket,
        open_a_packet_socket,
        open_a_machine_socket,
        open_a_cipher_socket,
        pair_datagram_sockets,
        pair_datagram_sockets_with_flags,
        connect_to_a_service,
        bind_a_socket,
        listen_at_a_socket,
        share_memory_by_key,
        queue_messages_by_key,
        open_a_message_queue,
        watch_files,
        watch_all_files,
        load_a_program_into_the_kernel,
        count_events,
        queue_calls,
        catch_page_faults,
        use_keys,
        add_a_key,
        enter_a_new_namespace,
        enter_anothers_namespace,
        mount,
        unmount,
        open_a_tree,
        open_a_file_system,
        change_the_root,
        swap_the_root,
        load_a_module,
        read_the_kernels_log,
        set_the_clock,
        hide_memory,
        splice,
        filter_its_own_calls,
        open_its_memory_to_others,
        let_others_trace_it,
        turn_off_random_addresses,
        become_another_user,
        join_another_group,
        take_capabilities_back,
    }
}

mod a_player {
    attempts! { works:
        may_start_threads,
        may_name_its_threads,
        may_name_another_thread,
        may_use_unnamed_memory,
        may_make_memory_executable,
        may_wait_for_events,
        may_talk_to_itself,
        may_poll_without_blocking,
        may_signal_itself,
        may_ask_for_its_limits,
        may_ask_for_its_processors,
        may_load_a_system_library,
        may_read_its_mappings,
        may_read_facts_of_the_machine,
        may_list_processors,
        may_throw_away,
        has_no_capabilities,
        has_no_capabilities_in_reserve,
        gains_no_privileges,
        has_no_terminal_to_open,
        has_nothing_of_the_judges_environment,
        has_no_descriptor_of_the_victim,
    }
}

#[test]
fn every_attempt_of_the_fixture_has_a_test() {
    let (said, _) = attempt("list", Path::new("/nowhere"));
    let all = said.split_whitespace();
    let tested: BTreeSet<&str> = a_player_cannot::NAMES.iter().chain(a_player::NAMES).copied().collect();
    assert_eq!(all.collect::<BTreeSet<_>>(), tested);
}

/// What the judge's own caller left open for every program is closed before foreign code is loaded.
#[test]
fn a_player_inherits_no_file_that_is_open_around_it() {
    let (_folder, path) = victim();
    let file = std::fs::File::open(&path).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let (said, _) = attempt("has_no_descriptor_of_the_victim", &path);
    assert_eq!(said, "allowed");
}
