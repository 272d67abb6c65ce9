//! How a problem's `data` holds what a kernel reads: values in their order, some of them in dictionaries.
//!
//! A definition that was made of a problem keeps it, so that what is packed takes `data` apart in the same way:
//!
//! ```text
//! "gpu_mode_data": ["x", {"norm.weight": "w_norm_weight"}, "y"]
//! ```

use serde_json::{Map, Value, json};

use crate::interop::flashinfer::Definition;

/// The field of a definition. An extension of ours, which other readers pass over.
pub(super) const FIELD: &str = "gpu_mode_data";

/// One value of `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// What stands by itself, by its name.
    Value(String),
    /// Keys, each with the name of what it holds.
    Dictionary(Vec<(String, String)>),
}

/// What `data` holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data(pub(super) Vec<Held>);

impl Data {
    /// What a definition keeps; `None` where it was made of no problem.
    pub(super) fn of(definition: &Definition) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let held = |value: &Value| match value {
            Value::Object(keys) => {
                let keys = keys.iter().map(|(key, name)| Some((key.clone(), text(name)?)));
                keys.collect::<Option<_>>().map(Held::Dictionary)
            }
            value => text(value).map(Held::Value),
        };
        let list = definition.unknown(FIELD)?.as_array()?;
        list.iter().map(held).collect::<Option<_>>().map(Self)
    }

    /// As a definition keeps it, which is also how Python writes it.
    pub(super) fn to_value(&self) -> Value {
        let held = |held: &Held| match held {
            Held::Value(name) => json!(name),
            Held::Dictionary(keys) => {
                keys.iter().map(|(key, name)| (key.clone(), json!(name))).collect::<Map<_, _>>().into()
            }
        };
        self.0.iter().map(held).collect()
    }

    /// Where a name is found in the list `given` of what `data` holds, as Python says it.
    pub(super) fn place_of(&self, name: &str) -> Option<String> {
        self.0.iter().enumerate().find_map(|(index, held)| match held {
            Held::Value(own) => (own == name).then(|| format!("given[{index}]")),
            Held::Dictionary(keys) => {
                let (key, _) = keys.iter().find(|(_, own)| own == name)?;
                Some(format!("given[{index}][{}]", json!(key)))
            }
        })
    }
}
