//! Which operators the element-wise rule can judge at all.
//!
//! FlashInfer-Bench has evaluators of its own for a few operators whose right answers are many: a
//! sampling operator may draw any token. Element by element such an answer would be called wrong, so it is
//! refused instead. Indices of what was selected are compared as sets ([`super::set`]).

use proofmark_packager::interop::flashinfer::Definition;

use super::set::is_set;

/// Why the element-wise rule cannot judge a definition; `None` where it can.
pub fn out_of_scope(definition: &Definition) -> Option<&'static str> {
    let computes_indices = definition.outputs().iter().any(|(name, spec)| {
        let whole = !spec.dtype.is_float();
        whole
            && !is_set(name, spec)
            && ["index", "indices", "topk", "token", "sample"].iter().any(|word| name.contains(word))
    });
    if definition.op_type() == "sampling" {
        Some("its outputs are drawn at random; that needs a test of distributions")
    } else if computes_indices {
        Some("its outputs are numbers of which several can be right; that needs their scores")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(op_type: &str, output: &str, dtype: &str) -> Definition {
        let json = format!(
            r#"{{"name": "d", "op_type": "{op_type}", "axes": {{"n": {{}}}}, "inputs": {{}},
                "outputs": {{"{output}": {{"shape": ["n"], "dtype": "{dtype}"}}}}, "reference": "def run(): pass"}}"#
        );
        Definition::from_json(&json).unwrap()
    }

    #[test]
    fn refuses_operators_with_many_right_answers() {
        assert!(out_of_scope(&definition("sampling", "y", "float32")).is_some());
        assert!(out_of_scope(&definition("routing", "topk_ids", "int32")).is_some());
        assert_eq!(out_of_scope(&definition("dsa_paged", "topk_indices", "int32")), None);
        assert_eq!(out_of_scope(&definition("gdn", "output", "bfloat16")), None);
        assert_eq!(out_of_scope(&definition("moe", "index_scores", "float32")), None);
        assert_eq!(out_of_scope(&definition("quantise", "values", "int8")), None);
    }
}
