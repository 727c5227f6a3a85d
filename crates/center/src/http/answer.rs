//! Bodies in and out. Whatever goes wrong is answered in JSON.

use api::error::ErrorDetail;
use api::{ErrorBody, ErrorCode};
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Refusal;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status())
            .expect("error codes have the statuses of HTTP");
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code,
                message: self.message,
                hint: self.hint,
            },
        };
        let challenge = (self.code == ErrorCode::Unauthorized)
            .then_some([(header::WWW_AUTHENTICATE, "Bearer")]);
        (status, challenge, Json(body)).into_response()
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refuse_body(rejection)),
        }
    }
}

fn refuse_body(rejection: JsonRejection) -> Refusal {
    let text = rejection.body_text();
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body is longer than {} bytes", super::BODY_MAX);
            Refusal::new(ErrorCode::TooLarge, message)
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Refusal::new(ErrorCode::BadRequest, "the body is not JSON")
                .hint("send it with `content-type: application/json`")
        }
        _ => {
            Refusal::new(ErrorCode::BadRequest, text).hint("/openapi.json says how the body looks")
        }
    }
}

/// A part of the path, such as a name or an id.
pub(super) struct Segment<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Segment<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        let refuse = |it: PathRejection| Refusal::new(ErrorCode::BadRequest, it.body_text());
        path.map(|it| Self(it.0)).map_err(refuse)
    }
}

/// What a handler returns.
pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// A list as the API answers it.
pub(super) fn page<T: Serialize>(items: Vec<T>) -> Json<api::Page<T>> {
    Json(api::Page { items })
}
