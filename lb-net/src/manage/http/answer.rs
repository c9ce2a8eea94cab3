//! What a request is answered.

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// An answer, or a refusal with its reason.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    /// One that only some answers have.
    header: Option<(HeaderName, &'static str)>,
    text: String,
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self::text("application/json", format!("{value}\n"))
    }

    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        Self { status: StatusCode::OK, content_type, header: None, text }
    }

    /// A refusal, and a sentence that says why.
    pub(super) fn refused(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, ..Self::json(&json!({ "ok": false, "error": why.into() })) }
    }

    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, why)
    }

    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, why)
    }

    /// Another method would do.
    pub(super) fn not_allowed(method: &str, allowed: &'static str) -> Self {
        let refused = Self::refused(StatusCode::METHOD_NOT_ALLOWED, format!("not with {method}: this takes {allowed}"));
        Self { header: Some((ALLOW, allowed)), ..refused }
    }

    /// A token is wanted.
    pub(super) fn unauthorized(why: &str) -> Self {
        let refused = Self::refused(StatusCode::UNAUTHORIZED, why);
        Self { header: Some((WWW_AUTHENTICATE, "Bearer realm=\"lb\"")), ..refused }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
