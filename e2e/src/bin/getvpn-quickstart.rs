//! The quickstart on the running cluster: what `cargo xtask cluster quickstart` ends with.

use std::process::ExitCode;

use anyhow::Result;
use e2e::cluster::Cluster;
use e2e::cluster::quickstart::{NAMESPACE, Quickstart};
use kubectl_getvpn::lab::progress::Progress;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: packets between members were seen in clear");
            ExitCode::from(3)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let cluster = Cluster::running()?;
    let report = Quickstart::prepare(&cluster)?.run(&mut Progress::visible())?;
    println!(
        "\nfrom apply to the first encrypted packet: {:.1} s\non the bridges of the nodes, between the members: {} packets of ESP, {} in clear\n",
        report.to_first_encrypted.as_secs_f64(),
        report.seen.esp,
        report.seen.clear
    );
    for example in &report.seen.examples {
        println!("in clear: {example}");
    }
    let resources = "getvpngroups,securityassociations,groupmembers,pods";
    print!("{}", cluster.kubectl(&["-n", NAMESPACE, "get", resources])?);
    println!(
        "\nIt keeps running. Look around:\n\n  eval \"$(cargo xtask cluster env)\"\n  kubectl -n {NAMESPACE} describe getvpngroup quickstart\n  kubectl -n {NAMESPACE} logs deploy/client -c client -f\n\nDelete it with `kubectl delete namespace {NAMESPACE}`; end the cluster with `cargo xtask cluster down`."
    );
    Ok(report.seen.clear == 0)
}
