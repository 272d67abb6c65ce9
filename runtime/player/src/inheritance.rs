//! What a player gets from the judge beside orders: the conversation as its standard input, and over it
//! four descriptors.
//!
//! Nothing is left open across the start of the program for a player to inherit, so that nothing has to
//! be done between fork and exec, and no other program that is started meanwhile can inherit it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// How many descriptors travel.
const COUNT: usize = 4;
/// The byte that they travel with.
const GREETING: u8 = 0x50;
/// The first descriptor behind the standard ones.
const FIRST: RawFd = 3;

/// What a player gets.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// The conversation.
    pub(crate) conversation: UnixStream,
    /// The page of flags.
    pub(crate) page: OwnedFd,
    /// Host memory for inputs.
    pub(crate) inputs: OwnedFd,
    /// Host memory for outputs.
    pub(crate) outputs: OwnedFd,
    /// The library, sealed.
    pub(crate) library: OwnedFd,
}

/// Sends the page, the inputs, the outputs and the library.
pub(crate) fn hand_over(conversation: &UnixStream, descriptors: [BorrowedFd<'_>; COUNT]) -> io::Result<()> {
    send_descriptors(conversation, descriptors)
}

/// Sends descriptors with one byte.
pub(crate) fn send_descriptors<const MANY: usize>(
    conversation: &UnixStream,
    descriptors: [BorrowedFd<'_>; MANY],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(COUNT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for descriptors"));
    }
    let greeting = [io::IoSlice::new(&[GREETING])];
    sendmsg(conversation, &greeting, &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives as many descriptors as are due, and the byte that they travel with.
pub(crate) fn receive_descriptors<const MANY: usize>(
    conversation: &UnixStream,
) -> io::Result<[OwnedFd; MANY]> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(COUNT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut greeting = [0];
    let received = recvmsg(
        conversation,
        &mut [io::IoSliceMut::new(&mut greeting)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes != 1 || greeting != [GREETING] {
        return Err(io::Error::other("no greeting"));
    }
    descriptors.try_into().map_err(|_| io::Error::other("not the descriptors that were due"))
}

/// Takes over what the judge sent. Fails where standard input is no judge's conversation.
pub(crate) fn take_over() -> io::Result<Inheritance> {
    let conversation = UnixStream::from(fcntl_dupfd_cloexec(io::stdin().as_fd(), FIRST)?);
    let [page, inputs, outputs, library] = receive_descriptors(&conversation)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(Inheritance { conversation, page, inputs, outputs, library })
}

/// Closes what the judge's own caller left open for every program: foreign code must not get it.
pub(crate) fn close_strays() -> io::Result<()> {
    for number in strays()? {
        // SAFETY: what is open without the mark that closes it on exec was open when this program was
        // started, since all that this program opens has the mark; so nothing here owns it.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}

/// Descriptors behind the standard ones that came over the start of this program.
fn strays() -> io::Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        // The folder's own descriptor is gone by the time that it is looked at, or has the mark.
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        if number >= FIRST && is_kept_on_exec(&facts) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// Reads the flags in what the kernel says of a descriptor.
fn is_kept_on_exec(facts: &str) -> bool {
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| libc::c_int::from_str_radix(text.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lacks_the_mark_is_a_stray() {
        let marked = std::fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&marked);
        assert!(!strays().unwrap().contains(&number));
        rustix::io::fcntl_setfd(&marked, rustix::io::FdFlags::empty()).unwrap();
        assert!(strays().unwrap().contains(&number));
    }

    #[test]
    fn what_the_kernel_does_not_say_is_left_alone() {
        assert!(is_kept_on_exec("pos:\t0\nflags:\t0100000\n"));
        assert!(!is_kept_on_exec("pos:\t0\nflags:\t02100000\n"));
        assert!(!is_kept_on_exec(""));
    }
}
