//! What tests run inside of pods: names, numbered packets, requests. Answers are one line of JSON.
//!
//! ```text
//! probe resolve NAME                         addresses, by the C library's resolver
//! probe resolve-rate NAME SECONDS            how often a name is resolved in that time, one after the other
//! probe udp-serve PORT                       sends every datagram back
//! probe udp-stream HOST:PORT RATE SECONDS [SIZE]   numbered datagrams to `udp-serve`, and what came back
//! probe multicast-count GROUP PORT COUNT     waits for that many numbered datagrams to a multicast group
//! probe multicast-stream GROUP:PORT RATE SECONDS   numbered datagrams to a multicast group
//! probe tcp-serve PORT                       answers HTTP with its host name and the caller's address
//! probe tcp-get HOST:PORT COUNT              that many requests, each on a connection of its own
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["resolve", name] => resolve(name),
        ["resolve-rate", name, seconds] => resolve_rate(name, seconds),
        ["udp-serve", port] => udp_serve(port),
        ["udp-stream", to, rate, seconds] => udp_stream(to, rate, seconds, "100"),
        ["udp-stream", to, rate, seconds, size] => udp_stream(to, rate, seconds, size),
        ["multicast-count", group, port, count] => multicast_count(group, port, count),
        ["multicast-stream", to, rate, seconds] => multicast_stream(to, rate, seconds),
        ["tcp-serve", port] => tcp_serve(port),
        ["tcp-get", to, count] => tcp_get(to, count),
        _ => Err(io::Error::other(
            "usage: probe resolve NAME | resolve-rate NAME SECONDS | udp-serve PORT | udp-stream HOST:PORT RATE SECONDS [SIZE] | multicast-count GROUP PORT COUNT | multicast-stream GROUP:PORT RATE SECONDS | tcp-serve PORT | tcp-get HOST:PORT COUNT",
        )),
    };
    match outcome {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number<Number: std::str::FromStr>(text: &str) -> io::Result<Number> {
    text.parse()
        .map_err(|_| io::Error::other(format!("`{text}` is not a number of the right size")))
}

fn resolve(name: &str) -> io::Result<Value> {
    let mut addresses: Vec<String> = (name, 0)
        .to_socket_addrs()?
        .map(|address| address.ip().to_string())
        .collect();
    addresses.sort();
    addresses.dedup();
    Ok(json!({"name": name, "addresses": addresses}))
}

fn resolve_rate(name: &str, seconds: &str) -> io::Result<Value> {
    let seconds: f64 = number(seconds)?;
    let (mut count, mut failed) = (0_u64, 0_u64);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        count += 1;
        failed += u64::from((name, 0).to_socket_addrs().is_err());
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    Ok(json!({"lookups": count, "failed": failed, "perSecond": rate.round()}))
}

fn udp_serve(port: &str) -> io::Result<Value> {
    let socket = UdpSocket::bind(("::", number::<u16>(port)?))
        .or_else(|_| UdpSocket::bind(("0.0.0.0", number::<u16>(port)?)))?;
    let mut room = [0u8; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut room)?;
        // An error of an earlier datagram (nobody listens there any more) must not end the server.
        let _ = socket.send_to(room.get(..length).unwrap_or_default(), from);
    }
}

fn udp_stream(to: &str, rate: &str, seconds: &str, size: &str) -> io::Result<Value> {
    let (rate, seconds, size): (u32, f64, usize) = (number(rate)?, number(seconds)?, number(size)?);
    let to = to
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("no address"))?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let total = (f64::from(rate) * seconds) as u64;
    let receiver = socket.try_clone()?;
    let start = Instant::now();
    let (arrived, longest) = std::thread::scope(|scope| -> io::Result<(u64, Duration)> {
        let receiving = scope.spawn(move || receive(&receiver, total, start, seconds));
        let mut datagram = vec![0u8; size.max(8)];
        for index in 0..total {
            let due = start + Duration::from_secs_f64(index as f64 / f64::from(rate));
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            if let Some(head) = datagram.get_mut(..8) {
                head.copy_from_slice(&index.to_be_bytes());
            }
            // A refusal of this packet is a loss of this packet, and counted as such.
            let _ = socket.send(&datagram);
        }
        receiving
            .join()
            .map_err(|_| io::Error::other("the receiver panicked"))
    })?;
    Ok(json!({
        "sent": total,
        "received": arrived,
        "lost": total.saturating_sub(arrived),
        "longestGapMilliseconds": longest.as_millis() as u64,
    }))
}

/// How many different datagrams came back, and the longest time without one.
fn receive(socket: &UdpSocket, total: u64, start: Instant, seconds: f64) -> (u64, Duration) {
    let mut seen = vec![false; usize::try_from(total).unwrap_or(0)];
    let (mut arrived, mut longest, mut last) = (0, Duration::ZERO, start);
    let end = start + Duration::from_secs_f64(seconds) + ANSWER;
    let mut room = [0u8; 65_536];
    while arrived < total && Instant::now() < end {
        let Ok(length) = socket.recv(&mut room) else {
            continue;
        };
        let index = room
            .get(..length.min(8))
            .and_then(|head| head.try_into().ok())
            .map(u64::from_be_bytes)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| seen.get_mut(index))
            && !std::mem::replace(slot, true)
        {
            arrived += 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    (arrived, longest)
}

fn multicast_count(group: &str, port: &str, count: &str) -> io::Result<Value> {
    let (group, count): (std::net::Ipv4Addr, usize) = (number(group)?, number(count)?);
    let socket = UdpSocket::bind(("0.0.0.0", number::<u16>(port)?))?;
    socket.join_multicast_v4(&group, &std::net::Ipv4Addr::UNSPECIFIED)?;
    let (mut seen, mut repeated) = (std::collections::BTreeSet::new(), 0_u64);
    let mut room = [0u8; 2048];
    while seen.len() < count {
        let (length, _) = socket.recv_from(&mut room)?;
        let head = room
            .get(..length.min(8))
            .and_then(|head| head.try_into().ok());
        if let Some(index) = head.map(u64::from_be_bytes)
            && !seen.insert(index)
        {
            repeated += 1;
        }
    }
    Ok(json!({"different": seen.len(), "repeated": repeated}))
}

fn multicast_stream(to: &str, rate: &str, seconds: &str) -> io::Result<Value> {
    let (rate, seconds): (u32, f64) = (number(rate)?, number(seconds)?);
    let to: std::net::SocketAddr = number(to)?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let total = (f64::from(rate) * seconds) as u64;
    let (start, mut refused) = (Instant::now(), 0_u64);
    for index in 0..total {
        let due = start + Duration::from_secs_f64(index as f64 / f64::from(rate));
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        refused += u64::from(socket.send_to(&index.to_be_bytes(), to).is_err());
    }
    Ok(json!({"sent": total, "refused": refused}))
}

fn tcp_serve(port: &str) -> io::Result<Value> {
    let port = number::<u16>(port)?;
    let listener =
        TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    for connection in listener.incoming() {
        let host = host.trim().to_owned();
        if let Ok(stream) = connection {
            std::thread::spawn(move || answer(&stream, &host));
        }
    }
    Ok(Value::Null)
}

fn answer(stream: &TcpStream, host: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let caller = stream.peer_addr()?.ip().to_canonical();
    let body = format!("{}\n", json!({"host": host, "caller": caller.to_string()}));
    let mut writer = stream;
    write!(
        writer,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn tcp_get(to: &str, count: &str) -> io::Result<Value> {
    let count: u64 = number(count)?;
    let mut failed = Vec::new();
    let mut hosts = std::collections::BTreeMap::<String, u64>::new();
    let start = Instant::now();
    for index in 0..count {
        match get(to) {
            Ok(body) => *hosts.entry(host_of(&body)).or_default() += 1,
            Err(error) => failed.push(format!("{index}: {error}")),
        }
    }
    Ok(json!({
        "requests": count,
        "failed": failed.len(),
        "errors": failed.iter().take(5).collect::<Vec<_>>(),
        "hosts": hosts,
        "milliseconds": start.elapsed().as_millis() as u64,
    }))
}

fn get(to: &str) -> io::Result<String> {
    let address = to
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {to}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other("no answer with status 200")),
    }
}

fn host_of(body: &str) -> String {
    serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|value| value.get("host")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| "?".to_owned())
}
