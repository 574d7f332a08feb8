#!/bin/sh
# Brings two members of one group up between two network namespaces, for a throughput measurement.
#
#   product-up.sh up NS_A NS_B OUTER_A OUTER_B    members in NS_A and NS_B, whose protected interfaces carry these
#                                                 addresses; prints "pid N" of both and, last, the address to measure to
#   product-up.sh down NS_A NS_B                  ends everything and removes what `up` made
#
# The key server runs in a namespace of its own, NS_A-ks, with a link to each member beside the measured one, so
# that key management shares neither the wire nor a UDP port with the traffic. Group policy: everything between
# the two addresses, AES-256-GCM, time-based anti-replay of 5 s.
#
# Environment: GETVPN_BIN_DIR  directory of `keyserver` and `gm-sidecar`; without it they are looked up in PATH
#              INTERFACE_A, INTERFACE_B  protected interfaces (gb-va, gb-vb)
#              ENCAPSULATION  how ESP travels: Udp or Raw (Udp)
# Needs root, ip (iproute2), openssl, curl.
set -eu
umask 077

usage() {
    echo "usage: $0 up NS_A NS_B OUTER_A OUTER_B | down NS_A NS_B" >&2
    exit 2
}
[ $# -ge 3 ] || usage
ns_a=$2 ns_b=$3 ns_ks=$2-ks
state=/run/getvpn-bench-$ns_a
[ -z "${GETVPN_BIN_DIR:-}" ] || PATH=$GETVPN_BIN_DIR:$PATH

# The key server's address, and one network per link to it.
key_server=10.250.0.1
link_a=10.250.1 link_b=10.250.2

# runs PID: whether it has not ended. One that nobody has asked about yet, because the first process of a container
# does not, has ended too.
runs() {
    phase=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    case $phase in "" | Z* | X*) return 1 ;; esac
}

down() {
    # Members first: they say goodbye to the key server.
    for node in a b ks; do
        [ -s "$state/$node.pid" ] || continue
        pid=$(cat "$state/$node.pid")
        kill "$pid" 2>/dev/null || continue
        tries=0
        while runs "$pid" && [ $tries -lt 50 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        kill -9 "$pid" 2>/dev/null || true
    done
    ip netns del "$ns_ks" 2>/dev/null || true
    rm -rf "$state"
}

fail() {
    echo "product-up.sh: $1" >&2
    tail -n 20 "$state"/*.log >&2 2>/dev/null || true
    down
    exit 1
}

# wait_for WHAT COMMAND...: until the command succeeds, for at most 20 s.
wait_for() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "$what: not within 20 s"
        sleep 0.1
    done
}

# link NS NAME NETWORK: a link between the member's namespace and the key server's.
link() {
    ip -n "$ns_ks" link add "$2" type veth peer name gb-ks netns "$1"
    ip -n "$ns_ks" addr add "$3.1/24" dev "$2"
    ip -n "$ns_ks" link set "$2" up
    ip -n "$1" addr add "$3.2/24" dev gb-ks
    ip -n "$1" link set gb-ks up
    ip -n "$1" route add "$key_server/32" via "$3.1"
}

certificate_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=bench authority" \
        -addext keyUsage=critical,keyCertSign -keyout "$state/ca.key" -out "$state/ca.pem"
}

# certificate NAME SAN
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$state/$1.key" -out "$state/$1.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\n' "$2" \
        >"$state/$1.ext"
    openssl x509 -req -in "$state/$1.csr" -CA "$state/ca.pem" -CAkey "$state/ca.key" -days 2 \
        -extfile "$state/$1.ext" -out "$state/$1.pem"
}

key_server_files() {
    mkdir "$state/data"
    openssl rand -hex 32 >"$state/sealing.key"
    for node in a b; do
        openssl rand -hex 32 >"$state/$node.psk"
        echo "- { identity: { type: FQDN, value: $node.bench }, key: $(cat "$state/$node.psk") }"
    done >"$state/psk.yaml"
    cat >"$state/ks.yaml" <<END
name: ks-0
dataDirectory: data
sealingKeyFile: sealing.key
priority: 100
ike: { addresses: ["$key_server"], port: 848, natTraversalPort: 4500 }
identity: { type: FQDN, value: ks-0.bench }
authentication: { preSharedKeysFile: psk.yaml }
cooperative:
  listen: "$key_server:9443"
  tls: { certificateFile: ks-0.pem, keyFile: ks-0.key, trustFile: ca.pem }
  initialMembers: [{ name: ks-0, address: "$key_server:9443", priority: 100 }]
admin:
  listen: "$key_server:9444"
  tls: { certificateFile: ks-0.pem, keyFile: ks-0.key, clientTrustFile: ca.pem }
metrics: { listen: "127.0.0.1:9445" }
END
}

# member_file NODE INTERFACE
member_file() {
    cat >"$state/$1.yaml" <<END
name: bench-$1
interfaces: [$2]
tunDevice: getvpn0
controlSocket: $state/$1.sock
identity: { type: FQDN, value: $1.bench }
failureMode: FailClosed
groups:
- groupID: 1
  keyServers: ["$key_server:848"]
  keyServerIdentities: [{ type: FQDN, value: ks-0.bench }]
  authentication: { preSharedKeyFile: $1.psk }
END
}

policy() {
    rule='{"name":"%s","action":"Permit","source":"%s/32","destination":"%s/32"}'
    # shellcheck disable=SC2059 # the format is the line above
    printf '{"name":"bench","groupId":1,"securityAssociations":[{"name":"all","order":1,"encryption":"Aes256Gcm",
"encapsulation":"%s","antiReplay":{"TimeBased":{"windowMs":5000}},"rules":['"$rule,$rule"']}]}' \
        "${ENCAPSULATION:-Udp}" a-to-b "$outer_a" "$outer_b" b-to-a "$outer_b" "$outer_a"
}

# start NODE NS PROGRAM
start() {
    ip netns exec "$2" "$3" --config "$state/$1.yaml" >"$state/$1.log" 2>&1 </dev/null &
    echo $! >"$state/$1.pid"
}

admin() {
    ip netns exec "$ns_ks" curl -sS --fail-with-body --max-time 5 --cacert "$state/ca.pem" \
        --cert "$state/administrator.pem" --key "$state/administrator.key" "$@"
}

put_policy() {
    admin -X PUT -H 'content-type: application/json' --data "@$state/policy.json" \
        "https://$key_server:9444/v1/groups/bench" >>"$state/admin.log" 2>&1
}

ready() {
    kill -0 "$(cat "$state/$1.pid")" || fail "the member in namespace $2 ended"
    curl -sf --max-time 5 --unix-socket "$state/$1.sock" http://localhost/readyz
}

up() {
    down
    mkdir -p "$state"
    ip netns add "$ns_ks"
    ip -n "$ns_ks" link set lo up
    ip -n "$ns_ks" addr add "$key_server/32" dev lo
    link "$ns_a" to-a "$link_a"
    link "$ns_b" to-b "$link_b"
    {
        certificate_authority
        certificate ks-0 "DNS:ks-0.bench,IP:$key_server"
        certificate administrator DNS:administrator.bench
    } >"$state/openssl.log" 2>&1 || fail "certificates"
    key_server_files
    member_file a "${INTERFACE_A:-gb-va}"
    member_file b "${INTERFACE_B:-gb-vb}"
    policy >"$state/policy.json"
    start ks "$ns_ks" keyserver
    wait_for "the group's policy at the key server" put_policy
    start a "$ns_a" gm-sidecar
    start b "$ns_b" gm-sidecar
    wait_for "registration of the first member" ready a "$ns_a"
    wait_for "registration of the second member" ready b "$ns_b"
    echo "pid $(cat "$state/a.pid")"
    echo "pid $(cat "$state/b.pid")"
    echo "$outer_b"
}

case $1 in
up)
    [ $# -eq 5 ] || usage
    outer_a=$4 outer_b=$5
    up
    ;;
down) down ;;
*) usage ;;
esac
