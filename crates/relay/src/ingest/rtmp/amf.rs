//! AMF0: how RTMP writes its commands. Pure; depth and number of values are bounded.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::super::codec::Malformed;

/// Values within values. Commands have objects of numbers and texts; metadata one level more.
const DEPTH_MAX: u32 = 8;

/// Values in one message. Metadata has some 30.
const VALUES_MAX: u32 = 1_024;

const BROKEN: Malformed = Malformed("a command is broken");

/// A value. What nobody asks for is read and forgotten.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
    Object(Vec<(String, Value)>),
    Null,
    Other,
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A property of an object.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(properties) => {
                let found = properties.iter().find(|(it, _)| it == name);
                found.map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// All values of a message.
pub(super) fn read(mut body: Bytes) -> Result<Vec<Value>, Malformed> {
    let mut left = VALUES_MAX;
    let mut values = Vec::new();
    while body.has_remaining() {
        values.push(value(&mut body, DEPTH_MAX, &mut left)?);
    }
    Ok(values)
}

fn value(body: &mut Bytes, depth: u32, left: &mut u32) -> Result<Value, Malformed> {
    *left = left.checked_sub(1).ok_or(BROKEN)?;
    let depth = depth.checked_sub(1).ok_or(BROKEN)?;
    Ok(match body.try_get_u8().map_err(|_| BROKEN)? {
        0 => Value::Number(body.try_get_f64().map_err(|_| BROKEN)?),
        1 => Value::Bool(body.try_get_u8().map_err(|_| BROKEN)? != 0),
        2 => Value::Text(short_text(body)?),
        3 => Value::Object(properties(body, depth, left)?),
        5 | 6 | 13 => Value::Null,
        8 => {
            // Its count is a guess; the end is marked as in an object.
            body.try_get_u32().map_err(|_| BROKEN)?;
            Value::Object(properties(body, depth, left)?)
        }
        10 => {
            let count = body.try_get_u32().map_err(|_| BROKEN)?;
            for _ in 0..count {
                value(body, depth, left)?;
            }
            Value::Other
        }
        7 => {
            body.try_get_u16().map_err(|_| BROKEN)?;
            Value::Other
        }
        11 => {
            body.try_get_f64().map_err(|_| BROKEN)?;
            body.try_get_u16().map_err(|_| BROKEN)?;
            Value::Other
        }
        12 | 15 => {
            let length = body.try_get_u32().map_err(|_| BROKEN)?;
            Value::Text(text(body, length as usize)?)
        }
        16 => {
            short_text(body)?;
            Value::Object(properties(body, depth, left)?)
        }
        _ => return Err(BROKEN),
    })
}

fn properties(
    body: &mut Bytes,
    depth: u32,
    left: &mut u32,
) -> Result<Vec<(String, Value)>, Malformed> {
    const END: u8 = 9;
    let mut properties = Vec::new();
    loop {
        let name = short_text(body)?;
        if name.is_empty() && body.first() == Some(&END) {
            body.advance(1);
            return Ok(properties);
        }
        properties.push((name, value(body, depth, left)?));
    }
}

fn short_text(body: &mut Bytes) -> Result<String, Malformed> {
    let length = body.try_get_u16().map_err(|_| BROKEN)?;
    text(body, length.into())
}

fn text(body: &mut Bytes, length: usize) -> Result<String, Malformed> {
    if length > body.len() {
        return Err(BROKEN);
    }
    Ok(String::from_utf8_lossy(&body.split_to(length)).into_owned())
}

/// Writes a message.
pub(super) fn write(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    values.iter().for_each(|value| put(&mut out, value));
    out.freeze()
}

fn put(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Number(number) => {
            out.put_u8(0);
            out.put_f64(*number);
        }
        Value::Bool(it) => out.put_slice(&[1, u8::from(*it)]),
        Value::Text(text) => {
            out.put_u8(2);
            put_text(out, text);
        }
        Value::Object(properties) => {
            out.put_u8(3);
            for (name, value) in properties {
                put_text(out, name);
                put(out, value);
            }
            out.put_slice(&[0, 0, 9]);
        }
        Value::Null | Value::Other => out.put_u8(5),
    }
}

/// Ours are short; a longer one is cut.
fn put_text(out: &mut BytesMut, text: &str) {
    let text = &text.as_bytes()[..text.len().min(u16::MAX.into())];
    out.put_u16(u16::try_from(text.len()).expect("just cut"));
    out.put_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let values = vec![
            Value::text("connect"),
            Value::Number(1.0),
            Value::Object(vec![
                ("app".into(), Value::text("match/north")),
                (
                    "inner".into(),
                    Value::Object(vec![("ok".into(), Value::Bool(true))]),
                ),
                ("nothing".into(), Value::Null),
            ]),
        ];
        let written = write(&values);
        assert_eq!(read(written.clone()), Ok(values));
        for length in 1..written.len() {
            let cut = read(written.slice(..length));
            assert!(cut.is_err() || cut.is_ok_and(|it| it.len() < 3), "{length}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep: Vec<u8> = std::iter::repeat_n([3, 0, 1, b'a'], 1_000)
            .flatten()
            .collect();
        assert_eq!(read(deep.into()), Err(BROKEN));
        let many = [&[10, 255, 255, 255, 255][..], &[5; 5_000]].concat();
        assert_eq!(read(many.into()), Err(BROKEN));
        assert_eq!(read(vec![12, 255, 255, 255, 255, 1].into()), Err(BROKEN));
    }
}
