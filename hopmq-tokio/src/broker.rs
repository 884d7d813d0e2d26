use crate::runtime::Tokio;

/// A broker inside this process, on tokio.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hopmq_tokio::{Broker, connect};
///
/// let broker = Broker::start().await?;
/// let connection = connect(&broker.uri()).await?;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
/// ```
pub type Broker = hopmq::Broker<Tokio>;
