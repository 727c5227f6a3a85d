//! The description of the API, as it is checked in.

use std::path::Path;

#[test]
fn the_checked_in_description_is_the_present_one() {
    let path = Path::new("../../docs/openapi.json");
    let present = center::openapi_document();
    if std::env::var_os("SELVEDGE_BLESS").is_some() {
        std::fs::write(path, &present).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == present,
        "docs/openapi.json is not what the handlers say; look at what has changed, then refresh it: \
         SELVEDGE_BLESS=1 cargo test -p center openapi"
    );
}

#[test]
fn every_part_of_the_description_is_there() {
    let document: serde_json::Value = serde_json::from_str(&center::openapi_document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schemas = &document["components"]["schemas"];
    let mut missing = Vec::new();
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(|it| it.as_str()) {
                    let name = reference.rsplit('/').next().unwrap();
                    if schemas.get(name).is_none() {
                        missing.push(name.to_owned());
                    }
                }
                waiting.extend(map.values());
            }
            serde_json::Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let said = operation["summary"].as_str().unwrap_or_default();
            assert!(!said.is_empty(), "{method} {path} says nothing");
        }
    }
}
