//! Takes out of what a store says whatever may be a credential.

use proofmark_packager::escape;

/// Longest text of a store that is repeated, in characters.
const LONGEST: usize = 400;

/// No shorter value is a secret that could be found in a text.
const SHORTEST_SECRET: usize = 6;

/// What the environment holds for stores and should not be shown.
pub(super) fn of_environment() -> Vec<String> {
    let is_for_stores =
        |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|start| name.starts_with(start));
    let is_secret =
        |name: &str| ["KEY", "TOKEN", "SECRET", "SAS", "CREDENTIAL"].iter().any(|part| name.contains(part));
    let found = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str()?.to_ascii_uppercase();
        (is_for_stores(&name) && is_secret(&name)).then(|| value.to_string_lossy().into_owned())
    });
    found.filter(|value| value.len() >= SHORTEST_SECRET).collect()
}

/// A text as one line, without these secrets and without what follows a `?` in an address: signatures of
/// addresses stand there.
pub(super) fn removed(text: &str, secrets: &[String]) -> String {
    let mut left = text.to_owned();
    for secret in secrets {
        left = left.replace(secret.as_str(), "…");
    }
    let mut shown = String::new();
    for word in left.split_inclusive(char::is_whitespace) {
        match word.split_once('?') {
            Some((address, query)) if address.contains("://") => {
                shown.push_str(address);
                shown.push_str("?…");
                shown.extend(query.chars().rev().take_while(|one| one.is_whitespace()));
            }
            _ => shown.push_str(word),
        }
    }
    if shown.chars().count() > LONGEST {
        shown = shown.chars().take(LONGEST).chain(['…']).collect();
    }
    escape::line(shown.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_secrets_addresses_queries_and_control_characters_out() {
        let secrets = ["wJalrXUtnFEMI".to_owned()];
        let text = "GET https://a.blob/c/x?sv=1&sig=abc%3D failed: \u{1b}[2J\nbad wJalrXUtnFEMI";
        let shown = removed(text, &secrets);
        assert_eq!(shown, r"GET https://a.blob/c/x?… failed: \u{1b}[2J\nbad …");
        assert!(removed(&"x".repeat(9000), &[]).len() < 500);
        assert_eq!(removed("is it there? no", &[]), "is it there? no");
    }
}
