//! The variables of a template. `mod.rs` calls it for each rendering.

use std::collections::BTreeMap;

use minijinja::Value;
use serde_json::Value as Json;

use crate::boot::loader::facts::{Facts, NAMES, REQUEST};
use crate::boot::loader::target::Var;

/// The variables of a template: [`NAMES`], the machine's own `vars` under their own names too, and [`REQUEST`].
pub(super) fn variables(facts: &Facts<'_>, request: Option<&Json>) -> Value {
    let none = BTreeMap::new();
    let vars = facts.machine.map_or(&none, |machine| &machine.vars);
    let known = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), Value::from(facts.text(name)?))));
    let own: BTreeMap<String, Value> = vars.iter().map(|(name, var)| (name.clone(), value(var))).collect();
    let mut all = own.clone();
    all.extend(known);
    all.insert("vars".to_owned(), own.into());
    all.extend(request.map(|json| (REQUEST.to_owned(), json_value(json))));
    all.into()
}

fn value(var: &Var) -> Value {
    match var {
        Var::Bool(value) => Value::from(*value),
        Var::Int(number) => Value::from(*number),
        Var::Float(number) => Value::from(*number),
        Var::Text(text) => Value::from(text.as_str()),
        Var::List(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Var::Map(entries) => {
            entries.iter().map(|(key, var)| (key.clone(), value(var))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

/// The JSON of a request. The reader of JSON limits how deep it is.
fn json_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => {
            let whole = number.as_i64().map(Value::from).or_else(|| number.as_u64().map(Value::from));
            whole.unwrap_or_else(|| Value::from(number.as_f64().unwrap_or_default()))
        }
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(json_value).collect::<Vec<_>>().into(),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), json_value(value)));
            entries.collect::<BTreeMap<_, _>>().into()
        }
    }
}
