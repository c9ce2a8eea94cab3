//! What is sent along with an order: one JSON object with known keys.

use std::{error::Error, time::Duration};

use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::answer::Answer;
use crate::manage::command::printable;

/// More than any order has to say.
const LONGEST: usize = 64 * 1024;

/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys and their values.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads what was sent, if anything was.
    pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Self, Answer>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        if body.is_end_stream() {
            return Ok(Self(Map::new()));
        }
        let collected = timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await;
        let late = |_| Answer::refused(StatusCode::REQUEST_TIMEOUT, format!("no body within {PATIENCE:?}"));
        let bytes = collected.map_err(late)?.map_err(|error| unread(&*error))?.to_bytes();
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        if !is_json(headers) {
            let why = "a body is read with Content-Type: application/json only";
            return Err(Answer::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Answer::bad("expected a JSON object, such as {\"weight\": 5}")),
            Err(error) => Err(Answer::bad(format!("the body is no JSON: {error}"))),
        }
    }

    /// Refuses all but these keys.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Answer> {
        let Some(key) = self.0.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
        let expected = match known {
            [] => "this takes no body".to_owned(),
            known => format!("expected {}", known.join(" and ")),
        };
        Err(Answer::bad(format!("unknown key '{}': {expected}", printable(key))))
    }

    pub(super) fn weight(&self, key: &str) -> Result<u16, Answer> {
        let weight = self.get(key)?.as_u64().and_then(|number| u16::try_from(number).ok());
        weight.ok_or_else(|| self.unexpected(key, &format!("a number from 0 to {}", u16::MAX)))
    }

    /// A number from 1 on, or `None` for null.
    pub(super) fn limit(&self, key: &str) -> Result<Option<u32>, Answer> {
        let value = self.get(key)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        if number.is_none() && !value.is_null() {
            let expected = format!("a number from 1 to {}, or null for any number", u32::MAX);
            return Err(self.unexpected(key, &expected));
        }
        Ok(number)
    }

    pub(super) fn text(&self, key: &str) -> Result<String, Answer> {
        let text = self.get(key)?.as_str().map(str::to_owned);
        text.ok_or_else(|| self.unexpected(key, "a text"))
    }

    /// A number, or the text of one, or of a name.
    pub(super) fn port(&self, key: &str) -> Result<String, Answer> {
        match self.get(key)? {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) if number.is_u64() => Ok(number.to_string()),
            _ => Err(self.unexpected(key, "a port's number or name")),
        }
    }

    fn get(&self, key: &str) -> Result<&Value, Answer> {
        self.0.get(key).ok_or_else(|| Answer::bad(format!("'{key}' is missing")))
    }

    fn unexpected(&self, key: &str, expected: &str) -> Answer {
        let value = self.0.get(key).map(ToString::to_string).unwrap_or_default();
        Answer::bad(format!("{key}: expected {expected}, not {}", printable(&value)))
    }
}

fn unread(error: &(dyn Error + 'static)) -> Answer {
    if error.is::<LengthLimitError>() {
        return Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {LONGEST} bytes"));
    }
    Answer::bad("the body does not come to its end")
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}
