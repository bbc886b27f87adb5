#!/bin/sh
# Builds the `native` runner and puts it beside what it needs, ready to be named under runner.folder.
#
#   build.sh aarch64|x86_64 OUT_FOLDER [PYTHON]
#
# aarch64: cross-built; the folder holds glibc's loader and libraries too, since phones have none (about 11 MB).
# x86_64: for a server without Python, and for the tests. LiteRT's library comes out of the ai-edge-litert wheel of the
# wanted machine, fetched by pip. Needs gcc (aarch64: gcc-aarch64-linux-gnu and libc6-dev-arm64-cross).
set -eu

machine=${1:?aarch64 or x86_64} out=${2:?a folder} python=${3:-python3}
here=$(cd "$(dirname "$0")" && pwd)
version=${LITERT_VERSION:-2.3.0} # runner.c declares this version's interface

case $machine in
aarch64)
    compiler=aarch64-linux-gnu-gcc
    loader=ld-linux-aarch64.so.1
    ;;
x86_64)
    compiler=gcc
    loader=ld-linux-x86-64.so.2
    ;;
*)
    echo "build.sh: machine $machine; use aarch64 or x86_64" >&2
    exit 2
    ;;
esac
if ! command -v "$compiler" >/dev/null 2>&1; then
    echo "build.sh: no $compiler. Debian and Ubuntu: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" >&2
    exit 3
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
    --platform "manylinux_2_27_$machine" --platform "manylinux_2_17_$machine" --dest "$stage" "ai-edge-litert==$version"
"$python" - "$stage" <<'END'
import sys, zipfile
from pathlib import Path

stage = Path(sys.argv[1])
(wheel,) = stage.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (stage / "libLiteRt.so").write_bytes(archive.read("ai_edge_litert/libLiteRt.so"))
END

# Phones with 16 KiB pages load only what is aligned so.
"$compiler" -O2 -std=gnu11 -Wall -Wextra -Werror "$here/runner.c" -o "$stage/runner" \
    -L"$stage" -lLiteRt -Wl,-z,max-page-size=16384

mkdir -p "$out"
cp "$stage/runner" "$stage/libLiteRt.so" "$out/"
for library in "$loader" libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libstdc++.so.6; do
    path=$("$compiler" -print-file-name="$library")
    [ -e "$path" ] && cp -L "$path" "$out/$library"
done
source=$(sha256sum "$here/runner.c" | cut -d ' ' -f 1)
printf '{"schema": 1, "machine": "%s", "loader": "%s", "litert": "%s", "source_sha256": "%s"}\n' \
    "$machine" "$loader" "$version" "$source" >"$out/runner.json"
echo "build.sh: $out holds the $machine runner (LiteRT $version), $(du -sh "$out" | cut -f 1)"
