//! The schema of every document, by the document's name.

/// What stands before the name of every document.
const PREFIX: &str = "proofmark.";

/// The name of a document and the text of its schema.
macro_rules! schema {
    ($name:literal) => {
        (concat!("proofmark.", $name), include_str!(concat!("../../schemas/", $name, ".json")))
    };
}

/// Every document of `--json`, and the job that `job run` reads, in alphabetical order.
const SCHEMAS: &[(&str, &str)] = &[
    schema!("bench"),
    schema!("build"),
    schema!("cache-challenge"),
    schema!("cache-list"),
    schema!("cache-stats"),
    schema!("cache-sweep"),
    schema!("cache-verify"),
    schema!("challenge"),
    schema!("compare"),
    schema!("diff"),
    schema!("doctor"),
    schema!("entry"),
    schema!("error"),
    schema!("extraction"),
    schema!("fleet-estimate"),
    schema!("fleet-plan"),
    schema!("fleet-reduce"),
    schema!("fleet-run"),
    schema!("fleet-submit"),
    schema!("inspect"),
    schema!("job"),
    schema!("ledger-import"),
    schema!("ledger-lineage"),
    schema!("ledger-list"),
    schema!("ledger-query"),
    schema!("ledger-rebuild"),
    schema!("ledger-retention"),
    schema!("ledger-show"),
    schema!("new"),
    schema!("outcome"),
    schema!("pack"),
    schema!("profile"),
    schema!("replay"),
    schema!("replay-shelf"),
    schema!("report"),
    schema!("schema-list"),
    schema!("seal"),
    schema!("sign"),
    schema!("skill"),
    schema!("target"),
    schema!("toolchain.install"),
    schema!("toolchain.list"),
    schema!("unpack"),
    schema!("verify"),
    schema!("verify-difference"),
    schema!("verify-kernels"),
    schema!("verify-policy"),
    schema!("verify-runs-on"),
    schema!("verify-signature"),
];

/// Every document's full name, with the text of its schema.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCHEMAS.iter().copied()
}

/// The schema of the document with this name, which may lack `proofmark.` in front.
pub(super) fn of(name: &str) -> Option<&'static str> {
    let is_named = |full: &str| full == name || full.strip_prefix(PREFIX) == Some(name);
    all().find(|(full, _)| is_named(full)).map(|(_, text)| text)
}

/// The names as `proofmark schema` takes them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name.strip_prefix(PREFIX).unwrap_or(name))
}
