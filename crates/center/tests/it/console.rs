//! The console and the player as a browser gets them.

use reqwest::StatusCode;
use reqwest::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};

use crate::support::TestCenter;

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_files_have_kinds_tags_and_a_policy() {
    let center = TestCenter::start().await;
    let http = reqwest::Client::new();
    for (path, kind, says) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/play/doom", "text/html; charset=utf-8", "<!doctype html>"),
        (
            "/watch/arena",
            "text/html; charset=utf-8",
            "<!doctype html>",
        ),
        (
            "/console/js/shared/api.js",
            "text/javascript; charset=utf-8",
            "export",
        ),
        (
            "/console/vendor/moq.js",
            "text/javascript; charset=utf-8",
            "export",
        ),
        ("/console/icon.svg", "image/svg+xml", "<svg"),
        ("/favicon.ico", "image/svg+xml", "<svg"),
    ] {
        let url = format!("{}{path}", center.base());
        let response = http.get(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let headers = response.headers().clone();
        assert_eq!(headers[CONTENT_TYPE], kind, "{path}");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let tag = headers[ETAG].clone();
        assert!(tag.to_str().unwrap().starts_with('"'), "a strong tag");
        assert!(response.text().await.unwrap().contains(says), "{path}");

        let again = http
            .get(&url)
            .header(IF_NONE_MATCH, &tag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        let other = http.get(&url).header(IF_NONE_MATCH, "\"other\"");
        assert_eq!(other.send().await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    crate::support::prepare();
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = center::TlsFiles {
        certificate: directory.path().join("center.crt"),
        key: directory.path().join("center.key"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut config = crate::support::config(directory.path(), 0);
    config.tls = Some(files.clone());
    let center = center::Center::load(config).await.unwrap();
    let address = center.address();
    let stop = tokio_util::sync::CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    let running = tasks.spawn(center.run(stop.clone()));

    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([root])
        .resolve("localhost", address)
        .build()
        .unwrap();
    let url = |scheme: &str| format!("{scheme}://localhost:{}/healthz", address.port());
    let secure = http.get(url("https")).send().await.unwrap();
    assert_eq!(secure.text().await.unwrap(), "ok\n");
    http.get(url("http")).send().await.unwrap_err();
    stop.cancel();
    running.await.unwrap();

    // What is not a certificate is said at the start.
    std::fs::write(&files.certificate, "hello").unwrap();
    let mut config = crate::support::config(directory.path(), 0);
    config.tls = Some(files);
    let error = center::Center::load(config).await.err().unwrap();
    assert!(error.to_string().contains("center.crt"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let center = TestCenter::start().await;
    let _node = center.node("frankfurt").await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("{}{path}", center.base()))
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    };
    assert_eq!(get("/healthz").await, "ok\n");
    assert_eq!(get("/readyz").await, "ok\n");
    let metrics = get("/metrics").await;
    for line in [
        "# TYPE selvedge_center_nodes_ready gauge",
        "selvedge_center_nodes_ready 1",
        "selvedge_center_links_connected_total 1",
        "selvedge_center_http_requests_total",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert_eq!(get("/openapi.json").await, center::openapi_document());
}
