//! Why a node does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Its directory cannot be used.
    #[error("use the directory {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses its directory.
    #[error("{0} is used by another `selvedge edge`; give each its own --data-dir")]
    InUse(PathBuf),
    /// Its key or certificate cannot be used.
    #[error("load the node's identity")]
    Identity(#[from] mesh::identity::IdentityError),
    /// The certificate for terminals cannot be used.
    #[error("load the certificate for terminals")]
    Certificate(#[from] mesh::tls::TerminalCertificateError),
    /// The port cannot be used.
    #[error("listen for terminals on {address}; is another program there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("set up tls")]
    Tls(#[source] rustls::Error),
    /// TLS cannot be used for QUIC.
    #[error("set up quic")]
    Quic(#[from] relay::transport::UnusableTls),
    /// The join token is not one.
    #[error("read the join token; `selvedge node token` makes one")]
    JoinToken(#[from] mesh::join::JoinTokenError),
    /// There is neither a certificate nor a token.
    #[error(
        "this node has not joined yet: give it a token with --join; `selvedge node token` makes one"
    )]
    NotJoined,
}
