"""The host's scripts around one run of the agent: they run under the device's sh, and more than once do no harm."""

# $1 run folder, $2 hashes, then the names of the files that are to have them; only then the run is ready.
MAKE_READY = r"""
cd "$1" || exit 3
wanted=$2
shift 2
found=$(sha256sum "$@" | while read -r sum _; do printf '%s ' "$sum"; done)
[ "${found% }" = "$wanted" ] && : >ready
"""

# $1 run folder, $2 agent, then its further arguments. Does nothing when the run's agent is alive.
START = r"""
cd "$1" || exit 3
pid=
[ -r pid ] && read -r pid <pid
if [ -n "$pid" ]; then
    case $(tail -c +1 "/proc/$pid/cmdline" 2>/dev/null) in *"${1##*/}"*) exit 0 ;; esac
fi
rm -f pid
[ -e lease ] || echo 0 >lease
run=$1 agent=$2
shift 2
if command -v setsid >/dev/null 2>&1; then
    (setsid sh "$agent" "$run" "$@" </dev/null >agent.out 2>&1 &)
else
    (sh "$agent" "$run" "$@" </dev/null >agent.out 2>&1 &)
fi
"""

# $1 run folder, $2 lease word, $3 first byte wanted. "gone" is looked up before the journal is read, so that what a
# dead agent wrote last is never missed.
POLL = r"""
cd "$1" || exit 3
printf '%s\n' "$2" >lease
pid= state=new
if [ -r pid ] && read -r pid <pid; then
    state=gone
    case $(tail -c +1 "/proc/$pid/cmdline" 2>/dev/null) in *"${1##*/}"*) state=alive ;; esac
fi
echo "$state"
[ -e journal ] && tail -c "+$3" journal | head -c 262144
:
"""

STOP = r"""
cd "$1" || exit 0
[ -r pid ] && read -r pid <pid || exit 0
case $(tail -c +1 "/proc/$pid/cmdline" 2>/dev/null) in
*"${1##*/}"*) kill -TERM "$pid" && kill -CONT "$pid" ;; # one that was stopped hears nothing else
esac
count=0
while [ -d "/proc/$pid" ] && [ $count -lt 20 ]; do
    sleep 0.1
    count=$((count + 1))
done
"""
