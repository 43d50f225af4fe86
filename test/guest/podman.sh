# In the guest: a container of a real podman is checkpointed, its archives go through a store of the host, and podman
# restores what comes back. The HTTP server at $PORT of the host takes a tar of the archives, in base64, and answers
# with one archive. Says `@@ WHAT: TEXT` lines for the test.
set -e
[ "$ROOTED" = yes ] || {
  # runc changes roots with pivot_root, which does not work in an initramfs: everything moves to a file system.
  mkdir /newroot
  mount -t tmpfs -o size=80% newroot /newroot
  for each in bin lib lib64 usr etc script packer; do
    [ ! -e "/$each" ] || cp -a "/$each" /newroot/
  done
  cd /newroot
  mkdir -p dev proc sys run tmp var/tmp var/lib var/run root
  mount --rbind /dev dev
  mount --bind /proc proc
  mount --bind /sys sys
  for each in run tmp; do mount -t tmpfs "$each" "$each"; done
  mount --move . /
  ROOTED=yes exec chroot . /bin/sh /script
}

export PATH=/bin HOME=/root
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
# CRIU packs file systems in memory with GNU's.
ln -sf /packer/tar /bin/tar
mkdir -p /dev/shm /dev/mqueue /dev/pts
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup

mkdir -p /tmp/rootfs/bin /tmp/rootfs/tmp /tmp/rootfs/etc /tmp/rootfs/proc /tmp/rootfs/sys /tmp/rootfs/dev
cp /bin/busybox /tmp/rootfs/bin/
for each in sh sleep tail; do ln -s busybox "/tmp/rootfs/bin/$each"; done
tar -C /tmp/rootfs -cf /tmp/rootfs.tar .
podman import -q /tmp/rootfs.tar localhost/box:latest
podman volume create data
podman run -d --name web --network=host -v data:/data --security-opt seccomp=unconfined localhost/box:latest \
  /bin/sh -c 't=$RANDOM$RANDOM; i=0; while true; do i=$((i+1)); echo $t $i >> /data/count; echo $t $i >> /tmp/count; sleep 0.1; done'

# What CRIU says of it, if anything fails.
trap '[ $? -eq 0 ] || grep -h -B3 Error $(find /var/lib/containers -name "*.log") </dev/null' EXIT
says() { echo "@@ $1: $2"; }

mkdir -p /work
podman container checkpoint --pre-checkpoint --export /work/pre.tar.zst web
podman container checkpoint --with-previous --compress gzip --export /work/web.tar.gz web
at=$(tail -n 1 "$(podman volume inspect data --format '{{.Mountpoint}}')/count")
says checkpointed "$at"
podman rm -f web
podman volume rm data

# What busybox posts must be text.
tar -C /work -cf - pre.tar.zst web.tar.gz | base64 >/work/both
wget -q --post-file /work/both -O /work/back.tar "http://10.0.2.2:$PORT/"
rm -f /work/both /work/pre.tar.zst /work/web.tar.gz
podman container restore --import /work/back.tar
says restored "$(podman inspect web --format '{{.State.Status}} {{.State.Restored}}')"
# Until it has counted on from there.
for _ in $(seq 100); do
  now=$(podman exec web tail -n 1 /data/count)
  [ "${now#* }" -le "${at#* }" ] || break
  sleep 0.1
done
says 'counted in its volume' "$now"
says 'counted in its file system' "$(podman exec web tail -n 1 /tmp/count)"
