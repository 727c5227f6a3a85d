//! Places a person may say they are in, when the operator offers a choice.

use model::{AccessNetwork, Position};
use serde::{Deserialize, Serialize};

/// A named place with the access network of terminals there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// What people read.
    pub name: String,
    /// The network of terminals there.
    pub network: AccessNetwork,
    /// Where it is.
    pub position: Position,
}
