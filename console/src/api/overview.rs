//! Who asks.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::principal::Reader;
use crate::access::scope::AccessScope;
use crate::server::problem::Problem;

/// Who asks, and what it may.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// The user's name, or `token NAME`.
    name: String,
    scope: AccessScope,
}

/// Who asks, and what it may
#[utoipa::path(get, path = "/me", responses((status = 200, body = WhoAmI), (status = 401, body = Problem)))]
pub(crate) async fn who_am_i(Reader(principal): Reader) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: principal.name,
        scope: principal.scope,
    })
}
