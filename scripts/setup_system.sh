#!/bin/sh
# Installs the system packages that a step needs, and says so. Never fails: what cannot be had is named, and
# what depends on it says so again when it is missed.
#   setup_system.sh base [PYTHON]   an interpreter with venv
#   setup_system.sh demo            Fashion-MNIST
#   setup_system.sh test            what the tests of each room ask for
set -u

install() {
    missing=""
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: please install$missing (no apt-get on this system)" >&2
        return 1
    fi
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        if sudo -n true 2>/dev/null; then
            sudo="sudo -n"
        else
            echo "setup: not root; please install:$missing" >&2
            return 1
        fi
    fi
    echo "setup: installing$missing" >&2
    { [ -n "${updated:-}" ] || $sudo apt-get update -qq; } >/dev/null 2>&1
    updated=1
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 && return 0
    echo "setup: could not install$missing" >&2
    return 1
}

has_venv() {
    [ -n "$1" ] && "$1" -c 'import venv, ensurepip' 2>/dev/null
}

case "${1:-}" in
    base) has_venv "${2:-}" || install python3 python3-venv ;;
    demo) install dataset-fashion-mnist ;;
    test)
        install dataset-fashion-mnist
        here=$(dirname "$0")/..
        for room in "$here"/tests/*/setup_system.sh; do
            [ -e "$room" ] && sh "$room"
        done
        ;;
    *) echo "usage: setup_system.sh base|demo|test" >&2 && exit 2 ;;
esac
exit 0
