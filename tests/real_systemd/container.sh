#!/bin/bash
# container.sh FOLDER LOWER PROGRAM [WORD...]: the first process of a container's namespaces becomes PROGRAM there.
#
# The container has a root file system of its own (an overlay whose changes are in FOLDER/upper), and a /proc, /sys,
# /dev, /run and /tmp of its own. Nothing of the machine around it is left below its root: a systemd that sees another
# machine's /tmp empties it. It cannot set clocks, kernel settings or kernel modules, and reaches no disk.
set -eu
folder=$1 lower=$2
shift 2
[ $$ = 1 ] || { echo "container.sh: not in a pid namespace of its own" >&2 && exit 1; }
mount --make-rprivate /
root=$folder/root
mkdir -p "$folder/upper" "$folder/work" "$root"
mount -t overlay overlay "$root" -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work"
cd "$root"
mkdir -p .outside proc sys dev run tmp
mount -t proc proc proc -o nosuid,nodev,noexec
mount -t sysfs sysfs sys -o nosuid,nodev,noexec,ro
mount -t cgroup2 cgroup2 sys/fs/cgroup -o nosuid,nodev,noexec
mount -t tmpfs tmpfs dev -o mode=755,nosuid
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
touch dev/console
mount --bind /dev/null dev/console
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620,gid=5
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
for name in dev/shm tmp; do mount -t tmpfs tmpfs $name -o mode=1777,nosuid,nodev; done
mount -t tmpfs tmpfs run -o mode=755,nosuid,nodev
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
# Each boot of a machine has another one; the container has the kernel of the machine around it.
tr -d '\n' <proc/sys/kernel/random/uuid >"$folder/boot_id"
mount --bind "$folder/boot_id" proc/sys/kernel/random/boot_id
pivot_root . .outside
umount -l /.outside
rmdir /.outside
# As on a machine, where systemd does so itself: mounts for the credentials of a unit reach all of the container.
mount --make-rshared /
exec setpriv --bounding-set="$CONTAINER_BOUNDS" "$@"
