//! The way from outside to the API server: a port on this machine's loopback address, joined to the
//! control machine's network. So nothing outside needs an interface or a route.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::{Context, Result};

use crate::control;
use crate::machine::Machine;
use crate::place::Place;
use crate::record::Records;

/// Name in the records and of the log.
pub(crate) const NAME: &str = "forward";

/// Serves until it is killed.
///
/// # Errors
/// When the control machine does not run, or the port is taken.
pub fn serve(place: &Place) -> Result<()> {
    let records = Records::read(&place.state)?;
    let control =
        Machine::find(&records, control::MACHINE).context("the control machine does not run")?;
    let listener = TcpListener::bind(("127.0.0.1", place.port))
        .with_context(|| format!("port {} of 127.0.0.1 is taken", place.port))?;
    for connection in listener.incoming() {
        let Ok(outside) = connection else { continue };
        let control = control.clone();
        std::thread::spawn(move || {
            // An error ends the connection, as the API server's own end would.
            let _ = join(&outside, &control);
            let _ = outside.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn join(outside: &TcpStream, control: &Machine) -> Result<()> {
    let inside = control.in_network(|| Ok(TcpStream::connect("127.0.0.1:6443")?))?;
    for stream in [outside, &inside] {
        stream.set_nodelay(true)?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| pump(outside, &inside));
        pump(&inside, outside);
    });
    Ok(())
}

/// Copies one direction to its end, and hands the end on.
fn pump(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
