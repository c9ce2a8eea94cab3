//! The form of a configuration file as JSON schema, for editors.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Takes};

/// A JSON schema (draft 7) of the file that [`parse`](super::parse) reads, as text. What it allows is nearly what is
/// legal; [`parse`](super::parse) knows more.
/// ```
/// let schema: serde_json::Value = serde_json::from_str(&lb_net::config::schema())?;
/// assert_eq!(schema["properties"]["log"]["properties"]["format"]["enum"][1], "json");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn schema() -> String {
    let mut root = table(keys::FILE);
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["title"] = "lb.toml".into();
    format!("{root:#}\n")
}

fn table(known: &[Key]) -> Value {
    let property = |key: &Key| {
        let mut value = takes(&key.takes);
        value["description"] = key.what.into();
        (key.name.to_owned(), value)
    };
    let properties: Map<String, Value> = known.iter().map(property).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn takes(takes: &Takes) -> Value {
    let one_or_list = |one: Value| json!({ "oneOf": [one, { "type": "array", "items": one }] });
    let number = |least: u64, most: u64| json!({ "type": "integer", "minimum": least, "maximum": most });
    match takes {
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Number(least, most) => number(*least, *most),
        Takes::NumberOr(least, most, word) => json!({ "oneOf": [number(*least, *most), { "const": word }] }),
        Takes::Fraction => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Takes::Text => json!({ "type": "string" }),
        Takes::Time(None) => json!({ "type": "string", "examples": ["2s", "1m 30s", "250ms"] }),
        Takes::Time(Some(word)) => json!({ "type": "string", "examples": ["2s", "1m 30s", "250ms", word] }),
        Takes::Size(None) => json!({ "type": "string", "examples": ["64KiB", "10MiB"] }),
        Takes::Size(Some(word)) => json!({ "type": "string", "examples": ["64KiB", "10MiB", word] }),
        Takes::Choice(words) => json!({ "enum": words }),
        Takes::Places => one_or_list(json!({ "type": ["integer", "string"] })),
        Takes::Networks | Takes::Texts => one_or_list(json!({ "type": "string" })),
        Takes::Codes => one_or_list(number(0, 255)),
        Takes::Table(keys) => table(keys),
        Takes::TableOr(keys, word) => json!({ "oneOf": [{ "const": word }, table(keys)] }),
        Takes::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Takes::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Takes::TablesOrText(keys) => {
            json!({ "oneOf": [{ "type": "string" }, { "type": "array", "items": table(keys) }] })
        }
        Takes::Backends(keys) => {
            json!({ "type": "array", "items": { "oneOf": [{ "type": "string" }, table(keys)] } })
        }
    }
}
