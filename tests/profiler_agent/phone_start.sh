#!/bin/sh
# Runs a command beside a fake phone: the real adbd in a chroot, on port 6555 of a network namespace that holds nothing
# else. adbd listens without authentication, so it must never run outside such a namespace.
#
#   phone_start.sh x86_64|arm64 ROOT COMMAND...
#
# x86_64: adbd and its shell run as uid 2000. arm64: a user namespace with its own binfmt_misc lets arm64 programs run
# under qemu; adbd is then root of that namespace.
set -eu

kind=$1 root=$2
shift 2

if [ "${PHONE_INSIDE:-}" != yes ]; then
    case $kind in
    x86_64) flags= ;;
    arm64) flags="--user --map-root-user" ;;
    *) exit 2 ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    PHONE_INSIDE=yes exec unshare $flags --net --mount --pid --fork --kill-child --mount-proc sh "$0" "$kind" "$root" "$@"
fi

ip link set lo up
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero urandom random; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
who=--userspec=2000:2000 owner=uid=2000,gid=2000
if [ "$kind" = arm64 ]; then
    who='' owner=uid=0,gid=0 # root of the user namespace, which may not change its groups
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    # the type's byte (2: fixed, 3: position independent) is matched without its last bit
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf ':proxyless-arm64:M::%s:%s:%s:F' "$magic" "$mask" "$(command -v qemu-aarch64-static)" \
        >/proc/sys/fs/binfmt_misc/register
fi
chroot=$(command -v chroot || echo /usr/sbin/chroot)
mount -t tmpfs -o "mode=771,size=256m,$owner" tmpfs "$root/data/local/tmp"
# Each phone has cores and clocks of its own, since tests of two phones run side by side.
mount -t tmpfs -o "mode=755,$owner" tmpfs "$root/sys"
cpu=$root/sys/devices/system/cpu policy=$root/sys/devices/system/cpu/cpufreq/policy0
mkdir -p "$policy"
for name in possible present online; do echo 0-1 >"$cpu/$name"; done
echo 0 1 >"$policy/related_cpus"
echo 300000 >"$policy/scaling_min_freq"
echo 1000000 >"$policy/scaling_cur_freq"
echo 2400000 >"$policy/scaling_max_freq"
echo schedutil >"$policy/scaling_governor"
chmod 666 "$policy"/*
cooling=$root/sys/class/thermal/cooling_device0
mkdir -p "$cooling"
echo thermal-cpufreq-0 >"$cooling/type"
echo 1 >"$cooling/cur_state"
# shellcheck disable=SC2086 # a word or none
env -i PATH=/system/bin:/usr/bin ADBD_PORT=6555 HOME=/data/local/tmp TMPDIR=/data/local/tmp \
    LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/android \
    "$chroot" $who "$root" /usr/lib/android-sdk/platform-tools/adbd >"${PHONE_LOG:-/dev/null}" 2>&1 &
exec "$@"
