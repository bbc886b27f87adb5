#!/bin/sh
# Installs what some tests of search/ use beside Python packages: headless Chromium (the report is opened in it) and
# the Fashion-MNIST files. Tests that miss them are skipped with the reason, so this script never fails a run.
set -u

missing=""
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="chromium"
[ -d /usr/share/datasets/fashion-mnist ] || missing="$missing dataset-fashion-mnist"

if [ -z "$missing" ]; then
    echo "setup_system: chromium and dataset-fashion-mnist are there."
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    echo "setup_system: missing: $missing. Tests that use them are skipped. As root on Debian or Ubuntu:"
    echo "setup_system:   apt-get install --no-install-recommends $missing"
    exit 0
fi
echo "setup_system: installing $missing with apt-get"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null 2>&1
for package in $missing; do
    if apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1; then
        echo "setup_system: installed $package"
    else
        echo "setup_system: could not install $package; tests that use it are skipped."
    fi
done
exit 0
