# Runs as the first process of new mount, process, network and host name namespaces, and turns them
# into a machine: what programs write under /var/lib, /var/log, /run and /tmp goes to the machine's own
# directory, so that nothing of it appears outside, and all mounts vanish with the last process.
#
# Arguments: the init program, the machine's directory, then the directories that stay visible at
# their own paths.
set -eu
init=$1 own=$2
shift 2

# Names of network namespaces outside must not be kept alive by this machine.
umount -R -l /run/netns 2>/dev/null || true

# Set aside what must stay visible, then cover.
mount -t tmpfs -o size=1m stash /mnt
number=0
for directory in "$@"; do
    mkdir "/mnt/$number"
    mount --bind "$directory" "/mnt/$number"
    number=$((number + 1))
done
mkdir /mnt/own "$own/log" "$own/tmp"
mount --bind "$own" /mnt/own
for covered in /var/lib /run; do
    mount -t tmpfs -o mode=755 machine "$covered"
done
chmod 1777 /mnt/own/tmp
mount --bind /mnt/own/tmp /tmp
mount --bind /mnt/own/log /var/log
number=0
for directory in "$@"; do
    mkdir -p "$directory"
    mount --bind "/mnt/$number" "$directory"
    number=$((number + 1))
done
for kept in kubelet containerd cni etcd; do
    mkdir -p "/mnt/own/lib/$kept" "/var/lib/$kept"
    mount --bind "/mnt/own/lib/$kept" "/var/lib/$kept"
done

# The kubelet insists on settings of the whole system. It finds files here that hold what it wants, and
# the system's own settings stay as they are.
want() {
    if [ -e "/proc/sys/$1" ]; then
        mkdir -p "/mnt/own/sys/${1%/*}"
        echo "$2" >"/mnt/own/sys/$1"
        mount --bind "/mnt/own/sys/$1" "/proc/sys/$1"
    fi
}
want kernel/keys/root_maxbytes 25000000
want kernel/keys/root_maxkeys 1000000
want kernel/panic 10
want kernel/panic_on_oops 1
want vm/overcommit_memory 1
want vm/panic_on_oom 0

umount -R -l /mnt
mkdir -p /run/netns /run/lock

# containerd and the kubelet hand mounts on into pods.
mount --make-rshared /
exec "$init"
