//! `GET /map`: two coordinates for each track.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use mert_search::map::{Map, MapMethod, MapOptions, cached};
use serde::Serialize;

use super::{ApiError, ApiResult, blocking, query};
use crate::state::State;

/// A map: that of [`mert_search::map::map`].
#[derive(Debug, Serialize)]
pub(super) struct Drawn {
    generation: u64,
    #[serde(flatten)]
    map: Map,
}

pub(super) async fn map(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Drawn>> {
    let params = query::parse(query.as_deref(), &["method"])?;
    let drawn = blocking(&state, move |snapshot| {
        snapshot.check_generation(params.generation()?)?;
        let method = match params.text("method") {
            None | Some("pca") => MapMethod::Pca,
            Some("tsne") => MapMethod::Tsne,
            Some(other) => return Err(ApiError::invalid(format!("invalid method={other}: expected pca or tsne"))),
        };
        let options = MapOptions { method, ..MapOptions::default() };
        let space = query::space(snapshot, &params)?;
        let (mut map, _) = cached(&space, &options, false, &|_| ())?;
        if space.geometry().csls {
            // The caches have no such note: it is one on the request.
            map.notes
                .push("drawn without the correction for hubs (CSLS), which corrects scores and places nothing".into());
        }
        Ok(Drawn { generation: snapshot.generation(), map })
    });
    Ok(Json(drawn.await?))
}
