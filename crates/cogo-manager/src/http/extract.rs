//! What handlers take out of a request; a refusal is a [`Problem`].

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The body, in JSON.
pub(super) struct Body<T>(pub(super) T);

/// The parts of the path that have a name.
pub(super) struct Path<T>(pub(super) T);

/// What stands behind the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let result = Json::<T>::from_request(request, state).await;
        result
            .map(|Json(body)| Self(body))
            .map_err(|rejection| bad_body(&rejection))
    }
}

fn bad_body(rejection: &JsonRejection) -> Problem {
    let text = rejection.body_text();
    match rejection.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text)
                .hint("send JSON with `Content-Type: application/json`")
        }
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNPROCESSABLE_ENTITY => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", text)
        }
        status if status.is_client_error() => Problem::new(status, "bad_body", text),
        _ => Problem::internal("failed to read the body", rejection),
    }
}

/// The body is longer than this door takes.
pub(super) fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "the body is longer than this door takes",
    )
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let result = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        result
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection: PathRejection| {
                Problem::new(StatusCode::BAD_REQUEST, "bad_path", rejection.body_text())
            })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let result = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        result
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection: QueryRejection| {
                Problem::new(StatusCode::BAD_REQUEST, "bad_query", rejection.body_text())
            })
    }
}
