//! Real traffic between the two ends.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;

use super::pair::{End, LIMIT};

/// Part of every payload; must never be readable on the cable.
pub(crate) const SECRET: &[u8] = b"the quick brown fox is confidential";

fn pattern(length: usize) -> Vec<u8> {
    SECRET
        .iter()
        .copied()
        .chain(0..=250)
        .cycle()
        .take(length)
        .collect()
}

/// Three pings with so many octets, all answered.
pub(crate) fn ping(from: &End, to: IpAddr, octets: usize) {
    let status = from
        .command(&format!("ping -q -c 3 -i 0.1 -W 5 -s {octets} {to}"))
        .stdout(Stdio::null())
        .status()
        .expect("ping runs");
    assert!(status.success(), "{to} answers");
}

/// Sends `octets` to a listener at the other end and compares what arrives.
pub(crate) fn tcp(from: &End, to: &End, address: IpAddr, octets: usize) {
    let listener = to.within(|| TcpListener::bind((address, 0)).expect("a listener"));
    let target = listener.local_addr().expect("bound");
    std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
            let mut received = Vec::new();
            stream
                .read_to_end(&mut received)
                .expect("all of it in time");
            received
        });
        let mut stream =
            from.within(|| TcpStream::connect_timeout(&target, LIMIT).expect("connected"));
        stream.set_write_timeout(Some(LIMIT)).expect("a time-out");
        stream.write_all(&pattern(octets)).expect("taken in time");
        drop(stream);
        assert!(
            received.join().expect("no panic") == pattern(octets),
            "what arrives is what was sent"
        );
    });
}

/// Sends `count` datagrams, each answered before the next.
pub(crate) fn datagrams(from: &End, to: &End, address: IpAddr, octets: usize, count: usize) {
    let server = to.within(|| UdpSocket::bind((address, 0)).expect("a socket"));
    let target = server.local_addr().expect("bound");
    let any: SocketAddr = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    }
    .parse()
    .expect("an address");
    let client = from.within(|| UdpSocket::bind(any).expect("a socket"));
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(LIMIT)).expect("a time-out");
    }
    client.connect(target).expect("connected");
    let sent = pattern(octets);
    let mut buffer = vec![0; octets + 1];
    for _ in 0..count {
        client.send(&sent).expect("taken");
        let (length, source) = server.recv_from(&mut buffer).expect("in time");
        assert!(buffer[..length] == sent, "what arrives is what was sent");
        server.send_to(&buffer[..length], source).expect("taken");
        let length = client.recv(&mut buffer).expect("in time");
        assert!(buffer[..length] == sent, "and what comes back too");
    }
}

/// Sends one datagram to a group that the other end has joined, on the cable and behind the TUN.
pub(crate) fn multicast(from: &End, to: &End) {
    let group = Ipv4Addr::new(239, 7, 7, 7);
    let receiver = to.within(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)
            .expect("a socket");
        let address: SocketAddr = (Ipv4Addr::UNSPECIFIED, 7007).into();
        socket.bind(&address.into()).expect("bound");
        for interface in ["eth0", "getvpn0"] {
            let index = nix::net::if_::if_nametoindex(interface).expect("an interface");
            let index = socket2::InterfaceIndexOrAddress::Index(index);
            socket.join_multicast_v4_n(&group, &index).expect("joined");
        }
        UdpSocket::from(socket)
    });
    receiver.set_read_timeout(Some(LIMIT)).expect("a time-out");
    from.within(|| {
        // Bound to an address, it would leave through that address's interface whatever the routes say.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket.set_multicast_ttl_v4(4).expect("a hop limit");
        socket.set_multicast_loop_v4(false).expect("no loop");
        socket
            .send_to(SECRET, (group, 7007))
            .expect("taken by the TUN");
    });
    let mut buffer = [0; 100];
    let (length, source) = receiver.recv_from(&mut buffer).expect("in time");
    assert_eq!((&buffer[..length], source.ip()), (SECRET, from.v4));
}
