//! What must be known of a reference's Python text: its top-level functions and their parameters.
//!
//! No parser of Python: lines that start at the first column with `def` are read up to their closing
//! parenthesis. A text that is no Python at all is therefore not found out here.

/// The parameters of a top-level function that are passed by place, in order; `None` where there is no such function.
pub(super) fn parameters(text: &str, function: &str) -> Option<Vec<String>> {
    let is_at_line_start = |at: usize| at == 0 || text.as_bytes()[at - 1] == b'\n';
    let list = text.match_indices("def").find_map(|(at, word)| {
        let after = &text[at + word.len()..];
        let rest = after.trim_start_matches([' ', '\t']);
        let rest = (rest.len() < after.len()).then(|| rest.strip_prefix(function))??;
        let rest = rest.trim_start_matches([' ', '\t']).strip_prefix('(')?;
        is_at_line_start(at).then(|| parts(rest)).flatten()
    })?;
    // Those behind a star are passed by name, and `/` is none.
    let by_place = list.iter().map(|part| name_of(part)).take_while(|name| !name.starts_with('*'));
    Some(by_place.filter(|name| !matches!(*name, "" | "/")).map(str::to_owned).collect())
}

/// The parts between commas of the first level, up to the parenthesis that closes the list; comments are
/// left out.
fn parts(text: &str) -> Option<Vec<String>> {
    let (mut depth, mut quote, mut is_comment) = (0_usize, None, false);
    let mut parts = vec![String::new()];
    for one in text.chars() {
        match (quote, one) {
            _ if is_comment => {
                is_comment = one != '\n';
                continue;
            }
            (Some(open), _) if one == open => quote = None,
            (None, '"' | '\'') => quote = Some(one),
            (None, '#') => {
                is_comment = true;
                continue;
            }
            (None, ')') if depth == 0 => return Some(parts),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is always a last part").push(one);
    }
    None
}

/// The parameter's name, without its type and default.
fn name_of(part: &str) -> &str {
    part.split([':', '=']).next().unwrap_or_default().trim()
}

/// Whether a text is a name in Python.
pub(super) fn is_identifier(text: &str) -> bool {
    let starts = text.starts_with(|one: char| one.is_alphabetic() || one == '_');
    starts && text.chars().all(|one| one.is_alphanumeric() || one == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_parameters_whatever_their_types_and_defaults() {
        let text = "import torch\n\n@torch.no_grad()\ndef run (\n    x: dict[str, int],  # a (comment\n    \
                    eps=\",)\", *, flag: str = \"a,)b\",\n) -> int:\n    pass\n";
        assert_eq!(parameters(text, "run").unwrap(), ["x", "eps"]);
        assert_eq!(parameters("def run():\n    pass", "run").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_function_inside_another_or_of_a_longer_name_does_not_count() {
        for text in [
            "class A:\n    def run(x): pass",
            "def runner(x): pass",
            "defrun(x)",
            "undef run(x)",
            "def run(x",
        ] {
            assert_eq!(parameters(text, "run"), None, "{text}");
        }
    }
}
