"""The host's scripts around our folder on a device: they run under its sh, and more than once do no harm."""

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

NO_HASHES, NOT_OURS = 4, 5  # exit codes of OPEN

# $1 folder, then names of runs to keep. Makes the folder, private to us, and prints its real path; removes what
# lost hosts left in it. The topmost folder that had to be made above ours is noted in made_above. A folder that holds
# anything else is somebody's: nothing in it is touched, and the name of that is printed.
OPEN = (
    r"""
command -v sha256sum >/dev/null 2>&1 || exit 4
hex='[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
hex=$hex$hex$hex$hex
case $1 in '~/'*) root=$HOME/${1#'~/'} ;; *) root=$1 ;; esac
shift
keep=" $* "
parent=${root%/*} made=
while [ -n "$parent" ] && ! [ -d "$parent" ]; do
    made=$parent parent=${parent%/*}
done
[ -z "$made" ] || mkdir -p "${root%/*}" 2>/dev/null
mkdir -m 700 "$root" 2>/dev/null
[ -d "$root" ] && [ -O "$root" ] && cd "$root" || exit 3
for name in * .[!.]* ..?*; do
    case $name in
    cache | lock | made_above | fixed_performance | run-$hex | stage-$hex | models-$hex | .nfs*) ;;
    *) [ -e "$name" ] || [ -L "$name" ] && printf '%s\n' "$name" && exit 5 ;;
    esac
done
mkdir -p cache || exit 3
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
IS_FREE = r"""
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
STOP_ALL = (
    r"""
cd "$1" || exit 3
rm -rf cache
for run in run-*; do
    [ -r "$run/pid" ] && read -r pid <"$run/pid" || continue
    case $pid in '' | *[!0-9]*) continue ;; esac
    case $(tail -c +1 "/proc/$pid/cmdline" 2>/dev/null) in
    *"$run"*) kill -TERM "$pid" && kill -CONT "$pid" ;; # one that was stopped hears nothing else
    esac
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
REMOVE = r"""
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
CHECK = r"""
mkdir -p "$1" && cd "$1" || exit 3
shift
sha256sum "$@" 2>/dev/null | while read -r sum name; do
    [ "$sum" = "$name" ] && printf '%s\n' "$name" || rm -f "./$name"
done
:
"""

# $1 folder, $2 stage, $3 place, then words "hash" or "hash+x" (a program): takes the staged files over, each only when
# its hash is right; prints the others. Run twice, it finds in the place what it took over the first time.
ACCEPT = r"""
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
