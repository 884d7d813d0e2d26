use std::sync::LazyLock;

use hopmq_proto::amqp::{Properties, ShortStr, WireError};
use hopmq_proto::client::Message;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::delivery::Delivery;
use super::handle::Received;
use super::publish::Publish;
use super::publisher::Publisher;
use super::rpc::{RpcCall, RpcClient};
use super::serve::Response;

/// RFC 8259.
const CONTENT_TYPE: ShortStr = ShortStr::from_static("application/json");

/// What a JSON message gets that is given no properties.
static JSON: LazyLock<Properties> =
    LazyLock::new(|| Properties { content_type: Some(CONTENT_TYPE), ..Properties::new().persistent() });

/// Why a payload is not the value that was asked for, or a value no payload.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The message says that it is something else.
    #[error("the content type is \"{0}\", not application/json")]
    ContentType(String),
    /// Its properties are malformed.
    #[error("malformed properties: {0}")]
    Properties(#[from] WireError),
    /// The body is not JSON, or not of this type.
    #[error("the body cannot be decoded: {0}")]
    Decode(serde_json::Error),
    /// The value cannot be JSON.
    #[error("the value cannot be encoded: {0}")]
    Encode(serde_json::Error),
}

impl Publisher {
    /// Publishes a value as JSON: as [`publish`](Publisher::publish) does, with content type `application/json`.
    ///
    /// [`properties`](Publish::properties) replaces all properties, the content type too: start from
    /// [`json_properties`].
    ///
    /// ```no_run
    /// # async fn example(publisher: hopmq::Publisher) -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Order {
    ///     id: u64,
    /// }
    ///
    /// publisher.publish_json("orders", &Order { id: 7 })?.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when the value cannot be JSON, such as a map whose keys are no strings.
    pub fn publish_json<'a, T: Serialize + ?Sized>(
        &'a self,
        routing_key: &'a str,
        value: &T,
    ) -> Result<Publish<'a>, PayloadError> {
        Ok(self.publish(routing_key, encode(value)?).properties(&JSON))
    }
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, PayloadError> {
    serde_json::to_vec(value).map_err(PayloadError::Encode)
}

impl RpcClient {
    /// Calls with a value as JSON: as [`call`](RpcClient::call) does, with content type `application/json`. The value in
    /// the reply is what [`from_json`] finds.
    ///
    /// ```no_run
    /// # async fn example(client: hopmq::RpcClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let reply = client.call_json("sum", &[19, 23])?.await?;
    /// let sum: u64 = hopmq::from_json(&reply)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when the value cannot be JSON.
    pub fn call_json<'a, T: Serialize + ?Sized>(
        &'a self,
        queue: &'a str,
        value: &T,
    ) -> Result<RpcCall<'a>, PayloadError> {
        Ok(self.call(queue, encode(value)?).properties(json_alone()))
    }
}

impl Response {
    /// A value as JSON, with content type `application/json`.
    ///
    /// ```no_run
    /// # async fn example(channel: hopmq::Channel) -> Result<(), hopmq::Error> {
    /// use hopmq::{Received, Response};
    ///
    /// let sum = async |request: Received| Response::json(&request.json::<Vec<u64>>()?.iter().sum::<u64>());
    /// channel.serve("sum", sum).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when the value cannot be JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        Ok(Self::new(encode(value)?, json_alone()))
    }
}

/// What is no more persistent than what it belongs to.
fn json_alone() -> Properties {
    Properties { content_type: Some(CONTENT_TYPE), ..Properties::new() }
}

impl Received {
    /// The value in a JSON body, as [`Delivery::json`] gives it.
    ///
    /// # Errors
    ///
    /// When the content type is another, or the body is not JSON of this type.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        from_json(self)
    }
}

impl Delivery {
    /// The value in a JSON body. A content type, if there is one, must be JSON's.
    ///
    /// ```no_run
    /// # async fn example(mut deliveries: hopmq::Consumer) -> Result<(), Box<dyn std::error::Error>> {
    /// while let Some(delivery) = deliveries.next().await {
    ///     let order: std::collections::BTreeMap<String, u64> = delivery.json()?;
    ///     delivery.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the content type is another, or the body is not JSON of this type. The delivery is still to be settled.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        from_json(self.message())
    }
}

/// Properties for a JSON message: persistent, with content type `application/json`.
#[must_use]
pub fn json_properties() -> Properties {
    JSON.clone()
}

/// The value in the JSON body of a message: what [`Delivery::json`] does, for a reply or a message that came back.
///
/// # Errors
///
/// When the content type is another, or the body is not JSON of this type.
pub fn from_json<'a, T: Deserialize<'a>>(message: &'a Message) -> Result<T, PayloadError> {
    match message.properties()?.content_type {
        Some(content_type) if !is_json(&content_type.to_string_lossy()) => {
            Err(PayloadError::ContentType(content_type.to_string_lossy().into_owned()))
        }
        _ => serde_json::from_slice(message.body()).map_err(PayloadError::Decode),
    }
}

/// `application/json`, or any type whose suffix says that it is JSON (RFC 6839), with or without parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || essence.split_once('/').is_some_and(|(_, subtype)| subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_json() {
        for json in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/hal+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "json", "text/plain", "application/jsonp", "application/xml", "+json"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
