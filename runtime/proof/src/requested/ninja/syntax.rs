//! Lines of a ninja file, and the parts of a build statement.

/// Lines with those joined that end in `$`; the blanks that begin the next one are left out.
pub(super) fn logical_lines(text: &str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let first = lines.next()?;
        let continues = |line: &str| line.bytes().rev().take_while(|&byte| byte == b'$').count() % 2 == 1;
        if !continues(first) {
            return Some(first.into());
        }
        let mut joined = first[..first.len() - 1].to_owned();
        for next in lines.by_ref() {
            let next = next.trim_start_matches([' ', '\t']);
            if continues(next) {
                joined.push_str(&next[..next.len() - 1]);
            } else {
                joined.push_str(next);
                break;
            }
        }
        Some(joined.into())
    })
}

/// `name = value`.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let plain =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    plain.then(|| (name, value.trim_start()))
}

/// A build statement, unexpanded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BuildLine {
    /// What it makes.
    pub(super) outputs: Vec<String>,
    /// How many of them a rule's `$out` names.
    pub(super) explicit_outputs: usize,
    /// The rule's name.
    pub(super) rule: String,
    /// What a rule's `$in` names.
    pub(super) inputs: Vec<String>,
    /// What it needs beside that.
    pub(super) implicit: Vec<String>,
}

/// Cuts `out | implicit: rule in | implicit || order-only |@ validation`.
pub(super) fn split_build(line: &str) -> Option<BuildLine> {
    let mut parts = BuildLine::default();
    let mut explicit_outputs = None;
    let mut words: Vec<String> = Vec::new();
    let mut bars = 0;
    let mut behind_colon = false;
    let mut token = String::new();
    let mut letters = line.chars().peekable();
    let mut end = false;
    while !end {
        let letter = letters.next();
        end = letter.is_none();
        match letter {
            Some('$') => {
                token.push('$');
                token.extend(letters.next());
                continue;
            }
            Some(letter) if !matches!(letter, ' ' | '\t' | '|') && (letter != ':' || behind_colon) => {
                token.push(letter);
                continue;
            }
            _ => {}
        }
        if !token.is_empty() {
            let word = std::mem::take(&mut token);
            match (behind_colon, bars) {
                (false, _) => words.push(word),
                (true, _) if parts.rule.is_empty() => parts.rule = word,
                (true, 0) => parts.inputs.push(word),
                (true, 1) => parts.implicit.push(word),
                (true, _) => {}
            }
        }
        match letter {
            Some(':') => {
                parts.outputs = std::mem::take(&mut words);
                parts.explicit_outputs = explicit_outputs.unwrap_or(parts.outputs.len());
                behind_colon = true;
                bars = 0;
            }
            Some('|') if !behind_colon => explicit_outputs = Some(words.len()),
            Some('|') => {
                bars += 1;
                if letters.next_if(|&next| next == '|' || next == '@').is_some() {
                    bars = 2;
                }
            }
            _ => {}
        }
    }
    (behind_colon && !parts.rule.is_empty()).then_some(parts)
}
