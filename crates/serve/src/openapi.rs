//! The description of the JSON API, for programs that make clients of it.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The OpenAPI 3.1 document.
pub(crate) const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::{api, audio, players};

    /// Every route is described, everything described is a route, and each parameter of a path is among the parameters.
    #[test]
    fn the_document_describes_the_routes() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes = [api::routes(), audio::routes(), players::routes()];
        let routes: BTreeSet<&str> = routes.iter().flatten().map(|&(path, _)| path).collect();
        assert_eq!(described, routes);
        for (path, item) in document["paths"].as_object().unwrap() {
            let operation = item.get("get").or_else(|| item.get("post")).unwrap();
            let parameters = operation["parameters"].as_array().unwrap();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let is_it = |parameter: &Value| parameter["name"] == part && parameter["in"] == "path";
                assert!(parameters.iter().any(is_it), "{path}: {part}");
            }
        }
    }
}
