#!/bin/sh
# Sets up what the agent's tests need beyond Python packages; each part says what it does and, where it cannot, why.
# Never fails: the tests that miss something skip with the reason. Safe to run again.
#
#   packages   adb, openssh-server, mksh, busybox, qemu-user-static, iproute2, cross compiler   (root, apt)
#   phone      an Android-like root with the real adbd of Debian trixie in build/profiler_tests (root, apt)
#   native     the native runner for this machine and for arm64 in build/profiler_tests          (pip, gcc)
#   tflite     an environment with tflite-runtime 2.14 in build/profiler_tests                   (python3.11, pip)
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
out=$top/build/profiler_tests
python=$top/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3)
mkdir -p "$out"

say() { echo "profiler tests: $*"; }

install_packages() {
    missing=
    for package in adb openssh-server mksh busybox qemu-user-static iproute2 gcc gcc-aarch64-linux-gnu \
        libc6-dev-arm64-cross; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "not root or no apt: please install$missing; tests that need them are skipped"
        return 0
    fi
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of words
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
        >"$out/apt.log" 2>&1 || say "apt could not install them (see $out/apt.log); tests that need them are skipped"
}

# The packages of adbd and of the userland, from the next Debian, unpacked and never installed.
fetch_trixie() {
    apt=$1/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -n -e 's/^URIs: *\(http[^ ]*debian\)\/\{0,1\}$/\1/p' -e 's/^deb .*\(http[^ ]*\/debian\)\/\{0,1\} .*/\1/p' | head -n 1)
    [ -n "$mirror" ] || { echo "no Debian mirror in this machine's apt sources"; return 1; }
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
        >"$apt/sources.list"
    set -- -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" -o Dir::State::status=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o APT::Architecture=amd64 -o APT::Sandbox::User=root
    apt-get "$@" -qq update && (cd "$apt/debs" && apt-get "$@" -qq download adbd android-libbase android-libboringssl \
        android-libcutils android-liblog libbrotli1 libc6 libgcc-s1 liblz4-1 libprotobuf32t64 libstdc++6 libsystemd0 \
        libzstd1 libcap2 zlib1g mksh toybox libcrypt1 libxxhash0)
}

# What Android has and Debian lacks. `cmd` writes its words to a file that the test reads, and moves the clocks' limits.
write_stubs() {
    [ -w "$root/system/bin" ] || return 0
    cat >"$root/system/bin/getprop" <<'END'
#!/system/bin/sh
case $1 in
ro.serialno) echo FAKE0001 ;;
ro.build.fingerprint) echo fake/phone/phone:14/TEST/1:user/release-keys ;;
ro.product.model) echo "Fake Phone" ;;
ro.build.version.sdk) echo 34 ;;
ro.product.cpu.abi) echo arm64-v8a ;;
esac
END
    cat >"$root/system/bin/dumpsys" <<'END'
#!/system/bin/sh
case $1 in
thermalservice) echo "IsStatusOverride: false" && echo "Thermal Status: 0" ;;
battery) printf 'Current Battery Service state:\n  AC powered: false\n  status: 2\n  level: 64\n  scale: 100\n' ;;
esac
END
    cat >"$root/system/bin/cmd" <<'END'
#!/system/bin/sh
echo "$*" >>/data/local/tmp/cmd.log
case $3 in true) khz=1400000 ;; *) khz=2400000 ;; esac
for policy in /sys/devices/system/cpu/cpufreq/policy*; do echo $khz >$policy/scaling_max_freq; done
END
    chmod 755 "$root/system/bin/getprop" "$root/system/bin/dumpsys" "$root/system/bin/cmd"
}

build_phone() {
    root=$out/phone/root
    [ -e "$out/phone/ready" ] && { write_stubs; return 0; }
    if [ "$(id -u)" -ne 0 ] || [ "$(uname -m)" != x86_64 ] || ! command -v dpkg-deb >/dev/null 2>&1; then
        say "the fake phone needs root on a Debian x86-64 machine; its tests are skipped"
        return 0
    fi
    say "unpacking the fake phone with Debian trixie's adbd (10 MB) into $out/phone"
    rm -rf "$out/phone"
    mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin"
    fetch_trixie "$out/phone" >"$out/phone/apt.log" 2>&1 || { say "trixie's packages could not be had (see $out/phone/apt.log)"; return 0; }
    for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
    for package in "$out"/phone/apt/debs/*.deb; do dpkg-deb -x "$package" "$root"; done
    mkdir -p "$root/system/bin" "$root/data/local/tmp" "$root/dev" "$root/proc" "$root/tmp" "$root/sys"
    ln -s /usr/bin/mksh "$root/system/bin/sh"
    ln -sf mksh "$root/usr/bin/sh"
    for name in $(chroot "$root" /usr/bin/toybox); do [ -e "$root/system/bin/$name" ] || ln -s /usr/bin/toybox "$root/system/bin/$name"; done
    printf 'root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/data/local/tmp:/system/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\nshell:x:2000:\n' >"$root/etc/group"
    write_stubs
    chown -R 2000:2000 "$root/data/local/tmp"
    chmod 771 "$root/data/local/tmp"
    : >"$out/phone/ready"
}

build_native() {
    for machine in x86_64 aarch64; do
        [ -e "$out/native-$machine/runner.json" ] &&
            [ "$out/native-$machine/runner.json" -nt "$top/profiler_agent/native/runner.c" ] && continue
        sh "$top/profiler_agent/native/build.sh" "$machine" "$out/native-$machine" "$python" >"$out/native-$machine.log" 2>&1 ||
            say "the native runner for $machine could not be built (see $out/native-$machine.log); its tests are skipped"
    done
}

build_tflite() {
    [ -e "$out/tflite-runtime/ready" ] && return 0
    old=$(command -v python3.11 || command -v python3.10 || command -v python3.9 || true)
    if [ -z "$old" ]; then
        say "tflite-runtime 2.14 needs Python 3.9 to 3.11; its test is skipped"
        return 0
    fi
    rm -rf "$out/tflite-runtime"
    { "$old" -m venv "$out/tflite-runtime" && "$out/tflite-runtime/bin/pip" install --quiet --disable-pip-version-check \
        'tflite-runtime==2.14.0' 'numpy<2'; } >"$out/tflite-runtime.log" 2>&1 && : >"$out/tflite-runtime/ready" && return 0
    say "tflite-runtime could not be installed (see $out/tflite-runtime.log); its test is skipped"
}

install_packages
build_phone
build_native
build_tflite
exit 0
