//! Lines of version 1, which name the definition without its digest, and neither run nor toolchain.
//!
//! | version 1 | version 2 |
//! |---|---|
//! | `seed`: a number, which readers with 53 bits get wrong | a text of digits |
//! | `reference`: the library that the reference ran as | `reference_library`; `reference` is what a job names |
//! | nothing | `run_id`, `definition_digest`, `toolchain`, `seed_commitment`: absent |

use serde_json::Value;

/// Brings a line's document to version 2. What version 1 did not say stays absent.
pub(super) fn upgrade(mut line: Value) -> Value {
    spell(&mut line, "/seed");
    spell(&mut line, "/report/seed");
    for context in ["/context", "/a", "/b"] {
        if let Some(Value::Object(context)) = line.pointer_mut(context)
            && let Some(library) = context.remove("reference")
        {
            context.insert("reference_library".to_owned(), library);
        }
    }
    line
}

fn spell(line: &mut Value, pointer: &str) {
    if let Some(seed) = line.pointer_mut(pointer)
        && let Some(number) = seed.as_u64()
    {
        *seed = Value::String(number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Record;

    #[test]
    fn a_sealed_line_of_version_1_reads_with_all_bits_of_its_seed_and_cannot_be_gone_on_from() {
        let line = include_str!("../../../tests/golden/record_v1.jsonl").trim_end();
        let Record::Workload(record) = Record::from_line(line).unwrap() else { panic!("{line}") };
        assert!(line.contains(&format!(r#""seed":{}"#, record.seed.0)), "{}", record.seed);
        assert_eq!((record.context.run_id, record.context.definition_digest), (None, None));
        assert!(line.contains(&format!(r#""reference":"{}""#, record.context.reference_library)));
        assert!(!record.context.continues(&record.context));
        assert_eq!(
            Record::from_line(&Record::Workload(record.clone()).to_line().unwrap()).unwrap(),
            Record::Workload(record)
        );
    }
}
