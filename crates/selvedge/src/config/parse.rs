//! Settings that are written in one word on a command line and as a table in the file.

use api::node::Endpoint;
use model::{Bytes, Position, Resources};

/// `50.11,8.68`
pub(super) fn position(text: &str) -> Result<Position, String> {
    let expected = "expected degrees north and degrees east, such as 50.11,8.68";
    let (lat, lon) = text.split_once(',').ok_or(expected)?;
    let degrees = |it: &str| it.trim().parse::<f64>().map_err(|_| expected.to_owned());
    Position::new(degrees(lat)?, degrees(lon)?).map_err(|error| error.to_string())
}

/// `edge.example:443`, or `26201=10.0.0.1:443` for one access network.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (network, address) = match text.split_once('=') {
        Some((network, address)) => {
            let network = network.parse().map_err(|error| format!("{error}"))?;
            (Some(network), address)
        }
        None => (None, text),
    };
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(Endpoint {
            network,
            address: address.to_owned(),
        }),
        _ => Err("expected host:port, such as edge.example:443".to_owned()),
    }
}

/// `cpu=2,memory=4GB,encoders=8`
pub(super) fn capacity(text: &str) -> Result<Resources, String> {
    let expected = "expected all of cpu, memory and encoders, such as cpu=2,memory=4GB,encoders=8";
    let (mut cpu, mut memory, mut encoders) = (None, None, None);
    for part in text.split(',') {
        let (name, amount) = part.split_once('=').ok_or(expected)?;
        match name.trim() {
            "cpu" => cpu = Some(cores(amount)?),
            "memory" => memory = Some(amount.parse::<Bytes>().map_err(|it| it.to_string())?),
            "encoders" => encoders = Some(amount.parse().map_err(|_| expected)?),
            _ => return Err(expected.to_owned()),
        }
    }
    match (cpu, memory, encoders) {
        (Some(cpu_millis), Some(memory), Some(encoders)) => Ok(Resources {
            cpu_millis,
            memory,
            encoders,
        }),
        _ => Err(expected.to_owned()),
    }
}

fn cores(text: &str) -> Result<u32, String> {
    const CORES_MAX: f64 = 4_096.0;
    match text.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 10 and 4,096,000 by the guard"
        )]
        Ok(cores) if (0.01..=CORES_MAX).contains(&cores) => Ok((cores * 1e3).round() as u32),
        _ => Err(format!("cpu is a number of cores, 0.01 to {CORES_MAX}")),
    }
}
