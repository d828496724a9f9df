//! Makes the JSON schema of `config.yaml` from the table of keys. `lanboot schema` prints it, for editors. It never reads
//! a configuration: a file that fits the schema may still have problems that only `lanboot check` finds.

use serde_json::{Map, Value, json};

use crate::config::syntax::key::{Kind, REQUIRED, Section};
use crate::config::syntax::keys::NOT_IMPLEMENTED;

/// The JSON schema (draft 2020-12) of `config.yaml`, with a line break at its end.
pub fn schema() -> String {
    let sections = Section::ALL.iter().filter(|section| **section != Section::Top);
    let definitions: Map<String, Value> =
        sections.map(|section| (format!("{section:?}"), of_section(*section))).collect();
    let mut schema = of_section(Section::Top);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("title".to_owned(), json!("config.yaml of lanboot"));
        fields.insert("$defs".to_owned(), definitions.into());
    }
    format!("{schema:#}\n")
}

fn of_section(section: Section) -> Value {
    let mut properties = Map::new();
    let mut patterns = Map::new();
    let mut required = Vec::new();
    for key in section.keys() {
        let mut value = of_kind(&key.kind);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("description".to_owned(), json!(key.about));
        }
        match key.name.strip_suffix(".N") {
            // As in `option.N`: a number or a name.
            Some(start) => patterns.insert(format!("^{start}\\..+$"), value),
            None => properties.insert(key.name.to_owned(), value),
        };
        if key.default == REQUIRED {
            required.push(key.name);
        }
    }
    for (_, name) in NOT_IMPLEMENTED.iter().filter(|(of, _)| *of == section) {
        properties.insert((*name).to_owned(), of_kind(&Kind::Off));
    }
    json!({
        "type": ["object", "null"],
        "properties": properties,
        "patternProperties": patterns,
        "required": required,
        "additionalProperties": false,
    })
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Any => json!({}),
        // YAML 1.2 reads the old words as text, and lanboot reads them as in YAML 1.1.
        Kind::Bool => json!({"enum": [true, false, "on", "off", "yes", "no"]}),
        Kind::Off => json!({"enum": ["off", false]}),
        Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        // A MAC address without separators is a number in YAML.
        Kind::Text(_) => json!({"type": ["string", "integer"]}),
        Kind::Word(words) if words.contains(&"off") => {
            let words: Vec<Value> = words.iter().map(|word| json!(word)).chain([json!(false)]).collect();
            json!({ "enum": words })
        }
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Time => json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}),
        Kind::Size => json!({"anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^[0-9]+ *(KiB|MiB|GiB)$"},
        ]}),
        Kind::Path => json!({"type": "string", "minLength": 1}),
        Kind::Address => json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+){3}$"}),
        Kind::Network => json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+){3}/[0-9]+$"}),
        Kind::Range => {
            json!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+){3}( *- *[0-9]+(\\.[0-9]+){3})?$"})
        }
        Kind::Map(section) => json!({"$ref": format!("#/$defs/{section:?}")}),
        Kind::Named(_, value) => {
            json!({"type": ["object", "null"], "additionalProperties": of_kind(value)})
        }
        Kind::List(item) => json!({"type": ["array", "null"], "items": of_kind(item)}),
        Kind::Each(item) => {
            json!({"anyOf": [of_kind(item), {"type": ["array", "null"], "items": of_kind(item)}]})
        }
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
    }
}
