//! Many lines, of which the first are shown.

use std::fmt::Write as _;

use proofmark_packager::escape;

use crate::proof::Unread;

/// Most lines shown of one kind; the JSON has all.
pub(super) const SHOWN: usize = 12;

/// Lines of strangers, the first of them; `more` are left out already.
pub(super) fn limited(lines: &[String], more: usize, lead: &str) -> String {
    let mut text = String::new();
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(text, "{lead}{}", escape::line(line));
    }
    let rest = lines.len().saturating_sub(SHOWN) + more;
    if rest > 0 {
        let _ = writeln!(text, "{lead}… and {rest} more; --json has all");
    }
    text
}

/// What was not read, a line each behind a lead.
pub(super) fn unread_lines(unread: &[Unread], lead: &str) -> String {
    let lines: Vec<String> =
        unread.iter().take(SHOWN + 1).map(|one| format!("{}: {}", one.path, one.reason)).collect();
    limited(&lines, unread.len() - lines.len(), &format!("{}  ", escape::line(lead)))
}
