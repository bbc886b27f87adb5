#!/bin/sh
# The agent: supervises one runner process per job on the device, and keeps the journal.
# POSIX sh; runs under mksh + toybox, dash, busybox ash. Protocol: profiler_agent/README.md.
#
#   agent.sh RUN_DIR SESSION LEASE_S MIN_FREE_KB
#   agent.sh facts DIR                              prints the facts below as one JSON line
#
# RUN_DIR holds, written by the host: job_list (lines "id limit_s"), runner (sh: "runner ID"), lease (a number that the
# host keeps changing). Written here: journal (JSON lines, append only), pid, ID.out, ID.err.
set -u
umask 077


# ---- the journal -----------------------------------------------------------------------------------------------

say() {
    printf '%s\n' "$1" >>journal && return
    rm -f spare # room for the last words on a full disk
    printf '\n{"t":"bye","why":"disk"}\n' >>journal
    finish 1
}

finish() {
    [ "$(readlink "$lock" 2>/dev/null)" = "$$:$name" ] && rm -f "$lock"
    exit "$1"
}

# number TEXT: TEXT when it is an integer or a plain decimal, else null
number() {
    case $1 in
    '' | *[!0-9.-]* | *.*.* | ?*-* | - | . | .* | *. | -.*) printf null ;;
    0[0-9]* | -0[0-9]*) printf null ;;
    *) printf '%s' "$1" ;;
    esac
}

# first FILE: the first line of a file, or nothing
first() {
    line=
    [ -r "$1" ] && read -r line 2>/dev/null <"$1"
    printf '%s' "$line"
}

free_kb() {
    # shellcheck disable=SC2046 # the words of df's last line are wanted
    set -- $(df -k . 2>/dev/null | tail -n 1)
    [ $# -ge 3 ] || return
    shift $(($# - 3))
    printf '%s' "$1"
}

pressure() {
    line=$(first /proc/pressure/cpu)
    case $line in
    *avg10=*) line=${line#*avg10=} && printf '%s' "${line%% *}" ;;
    esac
}

memory_kb() {
    while read -r key value _; do
        [ "$key" = MemAvailable: ] && printf '%s' "$value" && return
    done </proc/meminfo 2>/dev/null
}

# The hottest zone in thousandths of a degree; sensors that report nonsense are left out.
temperature_mc() {
    hottest=
    for zone in /sys/class/thermal/thermal_zone*/temp; do
        value=$(first "$zone")
        case $value in '' | *[!0-9]*) continue ;; esac
        [ "${#value}" -le 6 ] && [ "$value" -ge 1000 ] && [ "$value" -gt "${hottest:-0}" ] && hottest=$value
    done
    printf '%s' "$hottest"
}

# Current frequency of each cluster as a JSON array
frequencies_khz() {
    list=
    for policy in /sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq; do
        [ -e "$policy" ] && list=$list${list:+,}$(number "$(first "$policy")")
    done
    printf '[%s]' "$list"
}

# Android's own word on heat: 0 is none. dumpsys is absent elsewhere.
thermal_status() {
    command -v dumpsys >/dev/null 2>&1 || return
    dumpsys thermalservice 2>/dev/null | while read -r line; do
        case $line in "Thermal Status: "*) printf '%s' "${line#Thermal Status: }" && break ;; esac
    done
}

facts() {
    load=$(first /proc/loadavg)
    printf '{"load_1min":%s,"cpu_pressure_percent":%s,"memory_available_kb":%s,"free_kb":%s,' \
        "$(number "${load%% *}")" "$(number "$(pressure)")" "$(number "$(memory_kb)")" "$(number "$(free_kb)")"
    printf '"temperature_mc":%s,"thermal_status":%s,"frequencies_khz":%s}' \
        "$(number "$(temperature_mc)")" "$(number "$(thermal_status)")" "$(frequencies_khz)"
}

# ---- one agent per device --------------------------------------------------------------------------------------

# A symbolic link is made and filled in one step; it names the owner's process and run directory.
take_lock() {
    ln -s "$$:$name" "$lock" 2>/dev/null && return
    owner=$(readlink "$lock" 2>/dev/null)
    [ "${owner#*:}" = "$name" ] && is_agent "${owner%%:*}" "$name" && exit 0 # started twice: the first one does it
    if is_agent "${owner%%:*}" "${owner#*:}"; then
        printf '{"t":"bye","why":"busy","pid":%s}\n' "$(number "${owner%%:*}")" >>journal
        exit 0
    fi
    rm -f "$lock"
    ln -s "$$:$name" "$lock" 2>/dev/null
    if [ "$(readlink "$lock" 2>/dev/null)" != "$$:$name" ]; then
        printf '{"t":"bye","why":"busy","pid":null}\n' >>journal
        exit 0
    fi
}

# is_agent PID RUN: whether that process lives and is the agent of that run (numbers are used again)
is_agent() {
    case $1 in '' | *[!0-9]*) return 1 ;; esac
    [ -d "/proc/$1" ] || return 1
    command_line=$(tail -c +1 "/proc/$1/cmdline" 2>/dev/null)
    case $command_line in *"$2"*) return 0 ;; esac
    return 1
}

# A runner that outlived a killed agent would disturb the next one.
end_orphan() {
    orphan=$(first child)
    is_agent "$orphan" "$name" && stop_group "$orphan"
    rm -f child
}

stop_group() {
    kill -KILL "-$1" 2>/dev/null || kill -KILL "$1" 2>/dev/null
}

# ---- jobs ------------------------------------------------------------------------------------------------------

# watch CHILD LIMIT_S: ends the child at its limit, and the agent when the lease was not renewed in time. It counts
# its own sleeps, so that a clock that is set does no harm.
watch() {
    left=$2 lease_left=$lease_s last=
    while :; do
        sleep 1
        [ -d "/proc/$1" ] || [ "$1" = 0 ] || return
        left=$((left - 1)) lease_left=$((lease_left - 1))
        now=$(first lease)
        [ "$now" = "$last" ] || { last=$now lease_left=$lease_s; }
        if [ "$lease_left" -le 0 ]; then
            : >lease_over
            stop_group "$1"
            return
        fi
        if [ "$left" -le 0 ]; then
            : >"limit_over"
            stop_group "$1"
            return
        fi
    done
}

# run_job ID LIMIT_S
run_job() {
    free=$(free_kb)
    if [ "$(number "${free:-x}")" != null ] && [ "$free" -lt "$min_free_kb" ]; then
        say "{\"t\":\"bye\",\"why\":\"disk\",\"free_kb\":$free}"
        finish 1
    fi
    say "{\"t\":\"start\",\"id\":\"$1\"}"
    before=${after:-$(facts)} # those after the last job are a moment old
    rm -f limit_over
    $setsid sh ./runner "$1" "$name" >"$1.out" 2>"$1.err" </dev/null &
    child=$!
    printf '%s\n' "$child" >child
    watch "$child" "$2" &
    watcher=$!
    wait "$child"
    rc=$?
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
    rm -f child
    if [ -e lease_over ]; then
        say '{"t":"bye","why":"lease"}'
        finish 1
    fi
    limit=false
    [ -e limit_over ] && limit=true
    sum=$(sha256sum <"$1.out" 2>/dev/null)
    size=$(wc -c <"$1.out" 2>/dev/null)
    after=$(facts)
    say "{\"t\":\"res\",\"id\":\"$1\",\"rc\":$rc,\"limit\":$limit,\"out_bytes\":$(number "${size##* }"),\"out_sha256\":\"${sum%% *}\",\"before\":$before,\"after\":$after}"
}

# Fills $finished with the ids that have a result and $started with the ids of all starts, from an earlier agent.
read_journal() {
    finished=' ' started=' '
    [ -e journal ] || return
    [ -z "$(tail -c 1 journal)" ] || printf '\n' >>journal # a torn last line is closed
    while read -r line; do
        id=${line#*\"id\":\"}
        id=${id%%\"*}
        case $line in
        '{"t":"res",'*'}') finished="$finished$id " ;;
        '{"t":"start",'*'}') started="$started $id " ;;
        esac
    done <journal
}

if [ "$1" = facts ]; then
    cd "$2" || exit 1
    facts
    exit 0
fi

run=$1 session=$2 lease_s=$3 min_free_kb=$4
after=
name=${run##*/}
lock=${run%/*}/lock
cd "$run" || exit 1
take_lock
printf '%s\n' "$$" >pid
end_orphan
read_journal
rm -f lease_over
[ -e spare ] || head -c 65536 /dev/zero >spare 2>/dev/null
setsid=
command -v setsid >/dev/null 2>&1 && setsid=setsid
trap 'trap "" TERM HUP INT; [ -e child ] && stop_group "$(first child)"; say "{\"t\":\"bye\",\"why\":\"signal\"}"; finish 1' TERM HUP INT

sum=$(sha256sum <"$0")
say "{\"t\":\"hello\",\"protocol\":1,\"agent\":\"${sum%% *}\",\"session\":\"$session\",\"pid\":$$}"

while read -r id limit; do
    case $finished in *" $id "*) continue ;; esac
    case $started in
    *" $id "*" $id "*)
        say "{\"t\":\"res\",\"id\":\"$id\",\"rc\":null,\"limit\":false,\"out_bytes\":null,\"out_sha256\":null,\"before\":null,\"after\":null}"
        continue
        ;;
    esac
    run_job "$id" "$limit"
done <job_list

say '{"t":"bye","why":"done"}'
finish 0
