use crate::runtime::Smol;

/// A broker inside this process, on smol.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hopmq_smol::{Broker, connect};
///
/// let broker = Broker::start().await?;
/// let connection = connect(&broker.uri()).await?;
/// # Ok(())
/// # }
/// # smol::block_on(example()).unwrap();
/// ```
pub type Broker = hopmq::Broker<Smol>;
