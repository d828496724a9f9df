//! Compares answers with the schemas of `openapi.yaml`, as far as that uses JSON schema.

use lanboot::api::openapi::DESCRIPTION;
use serde_json::Value;

/// The description of the API.
pub fn description() -> Value {
    serde_yaml::from_str(DESCRIPTION).unwrap()
}

/// The schema of the answer with `status` of an operation; that of `default` if it has no own.
pub fn schema_of(description: &Value, method: &str, path: &str, status: u16) -> Value {
    let responses = &description["paths"][path][method.to_lowercase()]["responses"];
    let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
    let response = resolve(description, response);
    response["content"]["application/json"]["schema"].clone()
}

/// Follows `$ref`.
fn resolve<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => description.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

/// Everything that is wrong with `value`, one line each.
pub fn problems(description: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolve(description, schema);
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().flat_map(|schema| problems(description, schema, value, at)).collect();
    }
    if value.is_null() && schema["nullable"] == true {
        return Vec::new();
    }
    let is_right =
        match schema["type"].as_str().unwrap_or_else(|| panic!("{at}: a schema without a type: {schema}")) {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("{at}: the type {other}"),
        };
    if !is_right {
        return vec![format!("{at}: {} is expected, found {value}", schema["type"])];
    }
    let mut found = Vec::new();
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let (Some("date-time"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && humantime::parse_rfc3339(text).is_err()
    {
        found.push(format!("{at}: {text} is no time"));
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(problems(description, &schema["items"], item, &format!("{at}[]")));
    }
    let Some(object) = value.as_object() else { return found };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(key) {
            found.push(format!("{at}: no {key}"));
        }
    }
    for (key, value) in object {
        match schema["properties"].get(key) {
            Some(schema) => found.extend(problems(description, schema, value, &format!("{at}.{key}"))),
            None if schema["additionalProperties"] == false => {
                found.push(format!("{at}: {key} is not described"));
            }
            None => {}
        }
    }
    found
}

#[test]
fn wrong_answers_are_found() {
    let described = description();
    let schema = &described["components"]["schemas"]["Subnet"];
    let right = serde_json::json!({"network": "10.0.0.0/24", "size": 9, "leased": 1, "offered": 0, "quarantined": 0, "free": 8});
    assert_eq!(problems(&described, schema, &right, "subnet"), [""; 0]);
    let mut wrong = right.clone();
    wrong["size"] = "9".into();
    wrong["other"] = 1.into();
    wrong.as_object_mut().unwrap().remove("free");
    assert_eq!(problems(&described, schema, &wrong, "subnet").len(), 3);
    assert_eq!(problems(&described, schema, &serde_json::json!(null), "subnet").len(), 1);
}
