//! Stand-ins until center and edge are there.
pub(crate) mod center {
    use std::{net::SocketAddr, path::PathBuf};
    #[derive(Debug)]
    pub(crate) struct Config {
        pub data_dir: PathBuf,
        pub listen: SocketAddr,
        pub tls: Option<TlsFiles>,
        pub places: Vec<api::place::Place>,
    }
    #[derive(Debug)]
    pub(crate) struct TlsFiles {
        pub certificate: PathBuf,
        pub key: PathBuf,
    }
    pub(crate) struct Center;
    #[allow(clippy::unused_async)]
    impl Center {
        pub(crate) async fn load(_: Config) -> Result<Self, std::io::Error> {
            Err(std::io::Error::other("stub"))
        }
        pub(crate) fn address(&self) -> SocketAddr {
            unimplemented!()
        }
        pub(crate) async fn run(self, _: tokio_util::sync::CancellationToken) {}
    }
}
pub(crate) mod edge {
    use std::{net::SocketAddr, path::PathBuf};
    #[derive(Debug)]
    pub(crate) struct Config {
        pub data_dir: PathBuf,
        pub listen: SocketAddr,
        pub center: String,
        pub join: Option<String>,
        pub site: api::site::SiteSpec,
        pub endpoints: Vec<api::node::Endpoint>,
        pub certificate: Option<CertificateFiles>,
        pub capacity: Option<model::Resources>,
    }
    #[derive(Debug)]
    pub(crate) struct CertificateFiles {
        pub certificate: PathBuf,
        pub key: PathBuf,
    }
    pub(crate) struct Edge;
    #[allow(clippy::unused_async)]
    impl Edge {
        pub(crate) async fn load(_: Config) -> Result<Self, std::io::Error> {
            Err(std::io::Error::other("stub"))
        }
        pub(crate) fn address(&self) -> SocketAddr {
            unimplemented!()
        }
        pub(crate) fn node_id(&self) -> model::NodeId {
            unimplemented!()
        }
        pub(crate) fn ready(&self) -> tokio::sync::watch::Receiver<bool> {
            unimplemented!()
        }
        pub(crate) async fn run(self, _: tokio_util::sync::CancellationToken) {}
    }
}
