"""What is put on a device and how it gets there: hashed on the device, then renamed; swept afterwards."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Sequence

from profiler_agent.bundle import DeviceFile
from profiler_agent.errors import AgentOutputError, DeviceFull, DeviceNotReady
from profiler_agent.remote_shell import RemoteShell

CACHE = "cache"
_SLOWEST_HASH_BYTES_PER_S = 5_000_000
_NO_HASHES = 4  # exit code of _OPEN
_FILES_PER_CALL = 49  # their names fit into the 4 kB that old phones take for a command

# In our folder: lets go of the clocks that an agent fixed and was killed before it could let them go.
_LET_GO = r"""
if [ -e fixed_performance ]; then
    owner=$(readlink lock 2>/dev/null || echo none:none) # held by a live agent, they are in use
    case $(tail -c +1 "/proc/${owner%%:*}/cmdline" 2>/dev/null) in
    *"${owner#*:}"*) ;;
    *) cmd power set-fixed-performance-mode-enabled false </dev/null >/dev/null 2>&1 && rm -f fixed_performance ;;
    esac
fi
"""

# Removes the lock for agents of all folders when the agent that made it is dead.
_FREE_SHARED_LOCK = r"""
for place in "${PROXYLESS_LOCK_DIRECTORY:-/data/local/tmp}" /tmp; do
    owner=$(readlink "$place/proxyless.lock" 2>/dev/null) || continue
    case $(tail -c +1 "/proc/${owner%%:*}/cmdline" 2>/dev/null) in
    *"${owner#*:}"*) ;;
    *) rm -f "$place/proxyless.lock" 2>/dev/null ;;
    esac
done
"""

# $1 folder, then names of runs to keep. Makes the folder, private to us, and prints its real path; removes what
# lost hosts left in it. The topmost folder that had to be made above ours is noted in made_above.
_OPEN = (
    r"""
command -v sha256sum >/dev/null 2>&1 || exit 4
case $1 in '~/'*) root=$HOME/${1#'~/'} ;; *) root=$1 ;; esac
shift
keep=" $* "
parent=${root%/*} made=
while [ -n "$parent" ] && ! [ -d "$parent" ]; do
    made=$parent parent=${parent%/*}
done
[ -z "$made" ] || mkdir -p "${root%/*}" 2>/dev/null
mkdir -m 700 "$root" 2>/dev/null
[ -d "$root" ] && [ -O "$root" ] && cd "$root" && mkdir -p cache || exit 3
[ -z "$made" ] || printf '%s\n' "$made" >made_above
: >cache/.writable && rm -f cache/.writable || exit 3
pwd
for run in run-*; do
    [ -d "$run" ] || continue
    case $keep in *" $run "*) continue ;; esac
    pid=
    [ -r "$run/pid" ] && read -r pid <"$run/pid"
    case $pid in *[!0-9]*) pid=0 ;; esac
    case $(tail -c +1 "/proc/${pid:-0}/cmdline" 2>/dev/null) in *"$run"*) continue ;; esac
    # An agent ends before its host has taken the last results, or has its turn long after its host has brought them;
    # that host renews the lease as long as it looks.
    case $(tail -n 1 "$run/journal" 2>/dev/null) in
    *'"why":"lease"'*) ;;
    *) [ -n "$(find "./$run/lease" -mmin -2 2>/dev/null)" ] && continue ;;
    esac
    [ -n "$pid" ] || [ -n "$(find "./$run" -maxdepth 0 -mmin +60 2>/dev/null)" ] || continue
    rm -rf "./$run"
done
for stage in stage-*; do
    [ -d "$stage" ] && [ -n "$(find "./$stage" -maxdepth 0 -mmin +60 2>/dev/null)" ] && rm -rf "./$stage"
done
for place in models-*; do
    [ -d "$place" ] && [ -n "$(find "./$place" -maxdepth 0 -mmin +1440 2>/dev/null)" ] && rm -rf "./$place"
done
"""
    + _LET_GO
    + _FREE_SHARED_LOCK
    + ":"
)

# $1 folder. Ends with 1 as soon as a host renews the lease of a run, which it does several times a second; where there
# are runs, that is looked for during four seconds, the longest pause of a host whose link was lost.
_IS_FREE = r"""
cd "$1" || exit 3
before=$(cat run-*/lease 2>/dev/null)
[ -n "$before" ] || exit 0
count=0
while [ $count -lt 40 ]; do
    sleep 0.1
    [ "$(cat run-*/lease 2>/dev/null)" = "$before" ] || exit 1
    count=$((count + 1))
done
:
"""

# $1 folder. Ends the agents of all runs, and waits a little for their last words. A host that sees its agent end would
# start it once more: so the agent's script goes first.
_STOP_ALL = (
    r"""
cd "$1" || exit 3
rm -rf cache
for run in run-*; do
    [ -r "$run/pid" ] && read -r pid <"$run/pid" || continue
    case $pid in '' | *[!0-9]*) continue ;; esac
    case $(tail -c +1 "/proc/$pid/cmdline" 2>/dev/null) in *"$run"*) kill -TERM "$pid" ;; esac
    count=0
    while [ -d "/proc/$pid" ] && [ $count -lt 30 ]; do
        sleep 0.1
        count=$((count + 1))
    done
done
"""
    + _LET_GO
    + _FREE_SHARED_LOCK
    + ":"
)

# $1 folder, $2 the topmost folder that we made above it, or nothing: these go, too, but where others use them.
_REMOVE = r"""
count=0
while ! rm -rf "$1" && [ $count -lt 20 ]; do
    sleep 0.1 # an agent that is about to end may have written meanwhile
    count=$((count + 1))
done
[ ! -d "$1" ] || exit 1
folder=$1
while [ -n "$2" ] && [ "$folder" != "$2" ]; do
    folder=${folder%/*}
    rmdir "$folder" 2>/dev/null || [ ! -d "$folder" ] || break
done
:
"""

# $1 place, then content hashes: prints those whose file is there and whole.
_CHECK = r"""
mkdir -p "$1" && cd "$1" || exit 3
shift
sha256sum "$@" 2>/dev/null | while read -r sum name; do
    [ "$sum" = "$name" ] && printf '%s\n' "$name" || rm -f "./$name"
done
:
"""

# $1 folder, $2 stage, $3 place, then words "hash" or "hash+x" (a program): takes the staged files over, each only when
# its hash is right; prints the others. Run twice, it finds in the place what it took over the first time.
_ACCEPT = r"""
cd "$1/$2" || exit 3
place=$3
shift 3
sums=$(sha256sum ./* 2>/dev/null)
whole=
for word in "$@"; do
    name=${word%+x}
    case $sums in
    *"$name  ./$name"*) ;;
    *)
        sum=$(sha256sum <"../$place/$name" 2>/dev/null)
        [ "${sum%% *}" = "$name" ] || echo "$name"
        continue
        ;;
    esac
    [ "$name" = "$word" ] || chmod 700 "$name"
    whole="$whole $name"
done
[ -z "$whole" ] || mv -f $whole "../$place/" || echo $whole
:
"""


class DeviceFolder:
    """Our folder on the device: a cache of files under their content's name, and one folder per agent run."""

    def __init__(self, shell: RemoteShell, directory: str | None, *, keep_runs: Sequence[str] = ()) -> None:
        self._shell = shell
        wanted = posixpath.normpath(directory or shell.transport.default_directory)
        result = shell.insist(_OPEN, wanted, *keep_runs)
        path = result.text.strip()
        if result.return_code == _NO_HASHES:
            raise DeviceNotReady(
                f"{shell.transport.address} has no sha256sum, with which every file is checked when it has arrived. A "
                "phone needs Android 8 or later; on a board install coreutils, or a busybox that has it."
            )
        if result.return_code != 0:
            raise DeviceNotReady(
                f"The folder {wanted} on {shell.transport.address} cannot be written or belongs to another user "
                f"({result.stderr.strip() or 'no reason given'}). Name another one under 'directory' in the device "
                "file."
            )
        if not path.startswith("/") or "\n" in path or ".." in path.split("/"):
            raise AgentOutputError(f"{shell.transport.address} named its folder {path!r}; that is no absolute path.")
        self.path = path
        self.places_filled: set[str] = set()  # beside the cache

    def cached(self, sha256: str) -> str:
        """Where the file with that content stands on the device."""
        return f"{self.path}/cache/{sha256}"

    def put(self, files: Sequence[DeviceFile], place: str = CACHE) -> int:
        """Bring files into a folder below ours, but those already there (checked by hash); returns how many were sent.

        Raises:
            DeviceFull, DeviceNotReady: a file did not arrive whole.
        """
        if place != CACHE:
            self.places_filled.add(place)
        wanted = list({file.sha256: file for file in files}.values())
        parts = [wanted[start : start + _FILES_PER_CALL] for start in range(0, len(wanted), _FILES_PER_CALL)]
        return sum(self._put_some(part, place) for part in parts)

    def _put_some(self, files: Sequence[DeviceFile], place: str) -> int:
        names = [file.sha256 for file in files]
        limit_s = 20.0 + _hashing_s(files)
        present = self._shell.insist(_CHECK, f"{self.path}/{place}", *names, timeout_s=limit_s).text.split()
        missing = [file for file in files if file.sha256 not in present]
        if missing:
            self._send(missing, place)
        return len(missing)

    def _send(self, files: Sequence[DeviceFile], place: str) -> None:
        stage = f"stage-{secrets.token_hex(8)}"
        self._shell.insist('mkdir -p -m 700 "$1/$2"', self.path, stage)
        try:
            self._shell.push([(file.path, file.sha256) for file in files], f"{self.path}/{stage}")
            words = [file.sha256 + ("+x" if file.is_executable else "") for file in files]
            limit_s = 60.0 + _hashing_s(files)
            broken = self._shell.insist(_ACCEPT, self.path, stage, place, *words, timeout_s=limit_s)
        finally:
            self._shell.insist('rm -rf "$1/$2"', self.path, stage)
        if broken.text.strip() or broken.return_code:
            raise self._explain_broken(len(broken.text.split()))

    def _explain_broken(self, count: int) -> DeviceNotReady:
        free_kb = self.free_kb()
        message = f"{count} file(s) did not arrive whole on {self._shell.transport.address}"
        if free_kb is not None and free_kb < 1024:  # noqa: PLR2004 - less than a megabyte is full
            return DeviceFull(f"{message}: {free_kb} kB are free in {self.path}. Free some space and start again.")
        return DeviceNotReady(
            f"{message}; nothing of them is used. Try again; if it stays, check the device's storage."
        )

    def free_kb(self) -> int | None:
        """Free space, None when the device does not say."""
        words = self._shell.insist('df -k "$1" | tail -n 1', self.path).text.split()
        return int(words[-3]) if len(words) >= 3 and words[-3].isdigit() else None  # noqa: PLR2004

    def remove_place(self, place: str) -> None:
        """Remove a folder that ``put`` filled, with all that is in it."""
        self._shell.insist('rm -rf "$1/$2"', self.path, place)
        self.places_filled.discard(place)

    def remove_run(self, name: str) -> None:
        self._shell.insist('rm -rf "$1/$2"', self.path, name)

    def is_held(self) -> bool:
        """Whether a host has a run here and looks after it."""
        return self._shell.insist(_IS_FREE, self.path).return_code == 1

    def stop_agents(self) -> None:
        self._shell.insist(_STOP_ALL, self.path, timeout_s=60)

    def remove(self) -> None:
        """Leave nothing behind, and no folder above ours that was not there before us.

        Raises:
            DeviceNotReady: something could not be removed.
        """
        # Asked for on its own: a removal that is done again over a new link must still know it.
        made = self._shell.insist('cat "$1/made_above" 2>/dev/null', self.path).text.strip()
        is_above = made.startswith("/") and made != "/" and self.path.startswith(f"{made}/")
        result = self._shell.insist(_REMOVE, self.path, made if is_above else "")
        if result.return_code != 0:
            why = result.stderr.strip().rpartition("\n")[2]
            raise DeviceNotReady(
                f"{self.path} on {self._shell.transport.address} could not be removed: {why}. See to whom its files "
                "belong, and remove it by hand."
            )


def _hashing_s(files: Sequence[DeviceFile]) -> float:
    """How long a slow device may take to hash these."""
    return sum(file.path.stat().st_size for file in files) / _SLOWEST_HASH_BYTES_PER_S
