//! A center that gives fixed answers, to see what the command line makes of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is asked, and the status and body to answer.
pub(crate) type Answer = (&'static str, u16, String);

/// A center that answers until dropped with the process.
pub(crate) struct FakeCenter {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeCenter {
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &answers, &log);
            }
        });
        Self { address, asked }
    }

    /// Every request so far: first line, token and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, answers: &[Answer], log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut token, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let lower = line.to_lowercase();
        if request.is_empty() {
            request = line.trim_end_matches(" HTTP/1.1").to_owned();
        } else if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        } else if lower.starts_with("authorization: bearer ") {
            token = line["authorization: bearer ".len()..].to_owned();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    log.lock()
        .unwrap()
        .push(format!("{request} [{token}] {body}"));

    let missing = r#"{"error":{"code":"not_found","message":"there is no such thing"}}"#;
    let found = answers.iter().find(|(asked, ..)| *asked == request);
    let (status, text) = found.map_or((404, missing), |(_, status, text)| (*status, text));
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
    .unwrap();
}
