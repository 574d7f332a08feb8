//! The cluster's authorities, certificates and kubeconfigs, made with OpenSSL.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;
use crate::network::{API_SERVICE, CONTROL, Node};
use crate::place::Place;

/// Days for which everything is valid: longer than any test cluster lives.
const DAYS: &str = "365";

/// Who a certificate speaks for, and how.
struct Subject<'a> {
    file: &'a str,
    name: String,
    usage: &'a str,
    alternatives: String,
}

/// Makes every key, certificate and kubeconfig of a cluster with these nodes.
///
/// # Errors
/// When OpenSSL fails or a file cannot be written.
pub(crate) fn make(place: &Place, nodes: &[Node]) -> Result<()> {
    let keys = place.keys();
    fs::create_dir_all(&keys).with_context(|| format!("cannot make {}", keys.display()))?;
    // Without a configuration of our own, OpenSSL would add the extensions of an authority.
    fs::write(
        keys.join("openssl.cnf"),
        "[req]\ndistinguished_name=dn\n[dn]\n",
    )?;
    authority(&keys, "ca", "kubernetes")?;
    authority(&keys, "front-proxy-ca", "front-proxy")?;
    run(Command::new("openssl")
        .current_dir(&keys)
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])
        .args(["-out", "service-account.key"]))?;

    let server = format!(
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:{API_SERVICE},IP:{CONTROL},IP:127.0.0.1"
    );
    issue(
        &keys,
        "ca",
        &Subject {
            file: "apiserver",
            name: "/CN=kube-apiserver".to_owned(),
            usage: "serverAuth",
            alternatives: server,
        },
    )?;
    for (file, name) in [
        (
            "apiserver-kubelet-client",
            "/O=system:masters/CN=kube-apiserver-kubelet-client",
        ),
        ("admin", "/O=system:masters/CN=kubernetes-admin"),
        (
            "kube-controller-manager",
            "/CN=system:kube-controller-manager",
        ),
        ("kube-scheduler", "/CN=system:kube-scheduler"),
        ("kube-proxy", "/CN=system:kube-proxy"),
    ] {
        client(&keys, "ca", file, name)?;
    }
    client(
        &keys,
        "front-proxy-ca",
        "front-proxy-client",
        "/CN=front-proxy-client",
    )?;
    for node in nodes {
        client(
            &keys,
            "ca",
            &node.name,
            &format!("/O=system:nodes/CN=system:node:{}", node.name),
        )?;
        issue(
            &keys,
            "ca",
            &Subject {
                file: &format!("{}-server", node.name),
                name: format!("/O=system:nodes/CN=system:node:{}", node.name),
                usage: "serverAuth",
                alternatives: format!("DNS:{},IP:{}", node.name, node.address),
            },
        )?;
    }

    let inside = format!("https://{CONTROL}:6443");
    for user in ["kube-controller-manager", "kube-scheduler", "kube-proxy"]
        .into_iter()
        .chain(nodes.iter().map(|node| node.name.as_str()))
    {
        kubeconfig(
            place,
            user,
            &inside,
            &keys.join(format!("{user}.kubeconfig")),
        )?;
    }
    kubeconfig(place, "admin", &inside, &keys.join("admin.kubeconfig"))?;
    let outside = format!("https://127.0.0.1:{}", place.port);
    kubeconfig(place, "admin", &outside, &place.kubeconfig())
}

fn authority(keys: &Path, file: &str, name: &str) -> Result<()> {
    run(Command::new("openssl")
        .current_dir(keys)
        .args([
            "req",
            "-x509",
            "-config",
            "openssl.cnf",
            "-nodes",
            "-days",
            DAYS,
        ])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-addext", "basicConstraints=critical,CA:TRUE"])
        .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        .args([
            "-keyout",
            &format!("{file}.key"),
            "-out",
            &format!("{file}.crt"),
        ]))?;
    Ok(())
}

fn client(keys: &Path, authority: &str, file: &str, name: &str) -> Result<()> {
    issue(
        keys,
        authority,
        &Subject {
            file,
            name: name.to_owned(),
            usage: "clientAuth",
            alternatives: String::new(),
        },
    )
}

fn issue(keys: &Path, authority: &str, subject: &Subject<'_>) -> Result<()> {
    let mut command = Command::new("openssl");
    command
        .current_dir(keys)
        .args([
            "req",
            "-x509",
            "-config",
            "openssl.cnf",
            "-nodes",
            "-days",
            DAYS,
        ])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args([
            "-CA",
            &format!("{authority}.crt"),
            "-CAkey",
            &format!("{authority}.key"),
        ])
        .args(["-subj", &subject.name])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "keyUsage=critical,digitalSignature"])
        .args(["-addext", &format!("extendedKeyUsage={}", subject.usage)])
        .args(["-keyout", &format!("{}.key", subject.file)])
        .args(["-out", &format!("{}.crt", subject.file)]);
    if !subject.alternatives.is_empty() {
        command.args([
            "-addext",
            &format!("subjectAltName={}", subject.alternatives),
        ]);
    }
    run(&mut command)?;
    Ok(())
}

/// A kubeconfig in JSON, which is YAML too, that holds everything it needs.
fn kubeconfig(place: &Place, user: &str, server: &str, file: &Path) -> Result<()> {
    let keys = place.keys();
    let cluster = place.name();
    let data = |name: String| -> Result<String> {
        let path = keys.join(name);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(base64(&text))
    };
    let name = &cluster;
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": data("ca.crt".to_owned())?,
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": data(format!("{user}.crt"))?,
            "client-key-data": data(format!("{user}.key"))?,
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    });
    write_secret(file, &serde_json::to_vec_pretty(&config)?)
}

fn write_secret(file: &Path, text: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(text))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for chunk in octets.chunks(3) {
        let mut group = [0u8; 4];
        for (place, octet) in group.iter_mut().skip(1).zip(chunk) {
            *place = *octet;
        }
        let bits = u32::from_be_bytes(group);
        for index in 0..4 {
            let letter = (bits >> (18 - 6 * index)) & 0x3f;
            text.push(if index <= chunk.len() {
                char::from(ALPHABET[letter as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn base64_gives_the_values_of_rfc_4648() {
        for (octets, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(octets.as_bytes()), text);
        }
    }
}
