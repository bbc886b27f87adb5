#!/bin/sh
# The agent: supervises one runner process per job on the device, and keeps the journal.
# POSIX sh; runs under mksh + toybox, dash, busybox ash. Protocol: profiler_agent/README.md.
#
#   agent.sh RUN_DIR SESSION LEASE_S MIN_FREE_KB CLOCKS     CLOCKS: fixed (Android's mode, below) or free
#   agent.sh facts DIR                                      prints the facts below as one JSON line
#
# RUN_DIR holds, written by the host: job_list (lines "id limit_s"), runner (sh: "runner ID"), lease (a number that the
# host keeps changing). Written here: journal (JSON lines, append only), pid, ID.out, ID.err.
set -u
umask 077


# ---- the journal -----------------------------------------------------------------------------------------------

say() {
    printf '%s\n' "$1" >>journal && return
    rm -f spare # room for the last words on a full disk
    let_go
    printf '\n{"t":"bye","why":"disk"}\n' >>journal
    finish 1
}

# bye WHY EXIT_CODE [FIELDS]: the last record. Clocks that were fixed are let go before it, since the host that has read
# it removes the run or starts the next one.
bye() {
    let_go
    say "{\"t\":\"bye\",\"why\":\"$1\"${3:-}${let_go_code:+,\"let_go_rc\":$let_go_code}}"
    finish "$2"
}

finish() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null
    free_locks
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

# What the CPUs did since the start, in ticks: user, nice, system, idle, iowait, irq, softirq, steal
cpu_ticks() {
    # shellcheck disable=SC2046 # its words are wanted
    set -- $(first /proc/stat)
    [ "${1:-}" = cpu ] && [ $# -ge 9 ] || { printf null; return; }
    printf '[%s,%s,%s,%s,%s,%s,%s,%s]' "$(number "$2")" "$(number "$3")" "$(number "$4")" "$(number "$5")" \
        "$(number "$6")" "$(number "$7")" "$(number "$8")" "$(number "$9")"
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

# read_khz NAME: fills $khz with that file of each cluster as a JSON array. Starts no process: it also runs beside the
# runner, once a second.
read_khz() {
    khz='' seen=0
    for policy in /sys/devices/system/cpu/cpufreq/policy*; do
        [ -d "$policy" ] && [ $seen -lt $most ] || continue
        seen=$((seen + 1)) value=''
        [ -r "$policy/$1" ] && read -r value 2>/dev/null <"$policy/$1"
        case $value in '' | *[!0-9]* | 0?*) value=null ;; esac
        khz=$khz${khz:+,}$value
    done
    khz=[$khz]
}

# The cores of each cluster, in the order of read_khz
cluster_cores() {
    list='' seen=0
    for policy in /sys/devices/system/cpu/cpufreq/policy*; do
        [ -d "$policy" ] && [ $seen -lt $most ] || continue
        seen=$((seen + 1)) cores=''
        for core in $(first "$policy/related_cpus"); do cores=$cores${cores:+,}$(number "$core"); done
        list=$list${list:+,}[$cores]
    done
    printf '[%s]' "$list"
}

# read_each KIND NAME FOLDER...: fills $list with file NAME of each folder as a JSON array; KIND is count or word, and
# what is neither readable nor such is null. Starts no process.
read_each() {
    kind=$1 file=$2 list='' seen=0
    shift 2
    for folder in "$@"; do
        [ -d "$folder" ] && [ $seen -lt $most ] || continue
        seen=$((seen + 1)) value=''
        [ -r "$folder/$file" ] && read -r value 2>/dev/null <"$folder/$file"
        [ ${#value} -le 40 ] || value=''
        case $kind$value in
        count | word | count*[!0-9]* | count0?* | word*[!A-Za-z0-9_.-]*) value=null ;;
        word*) value=\"$value\" ;;
        esac
        list=$list${list:+,}$value
    done
    list=[$list]
}

# "PERCENT STATUS" of the battery that powers the device; what is not told is null. Phones keep sysfs from us and answer
# dumpsys, which numbers the states.
battery() {
    for supply in /sys/class/power_supply/*; do
        [ "$(first "$supply/type")" = Battery ] && [ "$(first "$supply/scope")" != Device ] || continue
        printf '%s %s' "$(number "$(first "$supply/capacity")")" "$(battery_status "$(first "$supply/status")")"
        return
    done
    level='' scale=100 status=''
    command -v dumpsys >/dev/null 2>&1 || { printf 'null null'; return; }
    $patience dumpsys battery 2>/dev/null | {
        while read -r key value _; do
            case $key in level:) level=$value ;; scale:) scale=$value ;; status:) status=$value ;; esac
        done
        case $level$scale in *[!0-9]*) level='' ;; esac
        [ -z "$level" ] || [ "${scale:-0}" -le 0 ] || level=$((level * 100 / scale))
        printf '%s %s' "$(number "$level")" "$(battery_status "$status")"
    }
}

battery_status() {
    case $1 in
    Charging | 2) printf '"charging"' ;;
    Discharging | 3) printf '"discharging"' ;;
    'Not charging' | 4) printf '"not_charging"' ;;
    Full | 5) printf '"full"' ;;
    *) printf null ;;
    esac
}

# Fills $own_ticks with the CPU time, in ticks of 10 ms as in cpu_ticks, of this agent and all that it ran so far; null
# where the shell does not tell. `times` must run in this very shell, so it writes to a file.
read_own_ticks() {
    own_ticks=0 told=0
    times >own_times 2>/dev/null
    while read -r user system _; do
        for word in "$user" "$system"; do
            case $word in [0-9]*m[0-9]*[.,][0-9]*s) told=$((told + 1)) ;; *) continue ;; esac
            seconds=${word#*m}
            seconds=${seconds%s}
            hundredths=${seconds#*[.,]}00
            hundredths=${hundredths%"${hundredths#??}"}
            seconds=${seconds%%[.,]*}
            seconds=${seconds#0}
            own_ticks=$((own_ticks + 6000 * ${word%%m*} + 100 * ${seconds:-0} + 1$hundredths - 100))
        done
    done 2>/dev/null <own_times
    [ $told = 4 ] || own_ticks=null
    rm -f own_times
}

# Android's own word on heat: 0 is none. dumpsys is absent elsewhere.
thermal_status() {
    command -v dumpsys >/dev/null 2>&1 || return
    $patience dumpsys thermalservice 2>/dev/null | while read -r line; do
        case $line in "Thermal Status: "*) printf '%s' "${line#Thermal Status: }" && break ;; esac
    done
}

facts() {
    load=$(first /proc/loadavg)
    printf '{"load_1min":%s,"cpu_pressure_percent":%s,"memory_available_kb":%s,"free_kb":%s,' \
        "$(number "${load%% *}")" "$(number "$(pressure)")" "$(number "$(memory_kb)")" "$(number "$(free_kb)")"
    printf '"temperature_mc":%s,"thermal_status":%s' "$(number "$(temperature_mc)")" "$(number "$(thermal_status)")"
    printf ',"cpu_ticks":%s,"own_ticks":%s' "$(cpu_ticks)" "$own_ticks"
    read_khz scaling_cur_freq && printf ',"frequencies_khz":%s' "$khz"
    read_khz scaling_min_freq && printf ',"min_frequencies_khz":%s' "$khz"
    read_khz scaling_max_freq && printf ',"max_frequencies_khz":%s' "$khz"
    read_each word scaling_governor /sys/devices/system/cpu/cpufreq/policy* && printf ',"governors":%s' "$list"
    read_each word type /sys/class/thermal/cooling_device* && printf ',"cooling_types":%s' "$list"
    read_each count cur_state /sys/class/thermal/cooling_device* && printf ',"cooling_states":%s' "$list"
    charge=$(battery)
    printf ',"battery_percent":%s,"battery_status":%s' "${charge% *}" "${charge#* }"
    printf ',"cluster_cores":%s,"fixed_performance":%s,"fixed_performance_rc":%s,"found_limits_khz":%s}' \
        "$cores" "$fixed" "$fixed_code" "$found_limits"
}

# ---- Android's fixed-performance mode --------------------------------------------------------------------------

# It holds all clocks between bounds that the phone can keep up for a while. No command tells whether it is on: so the
# file $mark, beside the lock, says that we may have set it, from before we ask until it is let go, and the clocks'
# limits from before are kept as facts.

# set_mode true|false: the phone's answer as exit code, within a bounded time (124: none came). The answer is printed,
# since the timeout of toybox 0.8.9 loses the exit code of a command that ends at once.
set_mode() {
    # shellcheck disable=SC2016,SC2086 # the inner shell's words; two words or none
    answer=$($patience sh -c 'trap "kill \$!; exit" TERM
        cmd power set-fixed-performance-mode-enabled "$1" </dev/null >/dev/null 2>&1 &
        wait $!
        echo $?' sh "$1" 2>/dev/null)
    return "${answer:-124}"
}

fix_clocks() {
    fixed='"missing"'
    command -v cmd >/dev/null 2>&1 && command -v getprop >/dev/null 2>&1 || return
    sdk=$(getprop ro.build.version.sdk 2>/dev/null)
    # Android 11 brought the mode; before it, exit code 0 may mean that nobody read the words.
    [ "$(number "${sdk:-x}")" != null ] && [ "${sdk%%.*}" -ge 30 ] || return
    read_khz scaling_min_freq && found_limits="[$khz"
    read_khz scaling_max_freq && found_limits="$found_limits,$khz]"
    printf '%s\n' "$$:$name" >"$mark"
    set_mode true
    fixed_code=$?
    if [ $fixed_code = 0 ]; then
        fixed='"on"'
        sleep 1 # it is the power service's own thread that moves the limits
    else
        fixed='"refused"'
        set_mode false # for a request that took too long and may still be done
        rm -f "$mark"
    fi
}

# Does nothing but where clocks are fixed, or were left so by an agent that was killed.
let_go() {
    [ "$fixed" = '"on"' ] || { [ -e "$mark" ] && is_ours "$lock"; } || return
    set_mode false
    let_go_code=$?
    fixed=null
    [ $let_go_code = 0 ] && rm -f "$mark"
}

# ---- one agent per device --------------------------------------------------------------------------------------

# Two links lock the device. $lock, in our folder, stands for all runs there. $shared, in a place that every user of the
# device can write, is for agents whose folder is another one. A link names its owner's process and run directory.

is_ours() {
    [ "$(readlink "$1" 2>/dev/null)" = "$$:$name" ]
}

# take LOCK: whether it is ours now; else $owner holds what it names. A link is made and filled in one step. One that a
# dead agent left is replaced; of two that do so at the same time the later stays. One that is freed at this moment is
# taken at the next look: to remove it here could remove that of who was quicker.
take() {
    ln -s "$$:$name" "$1" 2>/dev/null && return
    owner=$(readlink "$1" 2>/dev/null)
    [ -n "$owner" ] || return 1
    is_agent "${owner%%:*}" "${owner#*:}" && return 1
    [ "$(readlink "$1" 2>/dev/null)" = "$owner" ] && rm -f "$1" 2>/dev/null
    owner=''
    ln -s "$$:$name" "$1" 2>/dev/null
    is_ours "$1" && sleep 1
    is_ours "$1"
}

# Looks often for a while: a host that has several runs leaves the device free for moments only.
take_locks() {
    tries=10
    until try_locks; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || give_way
        sleep 0.1
    done
}

try_locks() {
    if ! take "$lock"; then
        [ "${owner#*:}" = "$name" ] && exit 0 # started twice: the first one does it
        return 1
    fi
    [ -n "$shared" ] || return 0 # no place that every user can write
    take "$shared" && return
    owner=$(readlink "$shared" 2>/dev/null)
    if is_agent "${owner%%:*}" "${owner#*:}" || { [ -z "$owner" ] && [ $tries -gt 1 ]; }; then
        rm -f "$lock"
        return 1
    fi
    shared='' # a place that takes no links, or a dead agent of another user left one that we may not remove
}

give_way() {
    printf '{"t":"bye","why":"busy","pid":%s}\n' "$(number "${owner%%:*}")" >>journal
    exit 0
}

free_locks() {
    for link in "$lock" "$shared"; do
        is_ours "$link" && rm -f "$link"
    done
}

# is_agent PID RUN: whether that process lives and is the agent of that run (numbers are used again)
is_agent() {
    case $1 in '' | *[!0-9]*) return 1 ;; esac
    [ -n "$2" ] && [ -d "/proc/$1" ] || return 1
    command_line=$(tail -c +1 "/proc/$1/cmdline" 2>/dev/null)
    case $command_line in *"$2"*) return 0 ;; esac
    return 1
}

# A runner that outlived a killed agent would disturb the next one.
end_orphan() {
    orphan=$(first child)
    orphan=${orphan%% *}
    is_agent "$orphan" "$name" && stop_group "$orphan"
    rm -f child
}

stop_group() {
    kill -KILL "-$1" 2>/dev/null || kill -KILL "$1" 2>/dev/null
}

# ---- jobs ------------------------------------------------------------------------------------------------------

# watch: one process beside all jobs of the run, which starts none but its sleep. It ends a job at its limit, and the
# agent when the lease was not renewed in time, however short the jobs are. It counts its own sleeps, so that a clock
# that is set does no harm. Beside that it reads the clusters' clocks, since after the work they fall on any device.
watch() {
    lease_left=$lease_s last='' job='' left=0
    while :; do
        sleep 1
        owner=''
        read -r owner 2>/dev/null <pid
        case $owner in '' | "$$") ;; *) return ;; esac # another agent has taken the run over
        age_lease
        find_job
        if [ "$lease_left" -le 0 ]; then
            echo >lease_over
            [ -z "$job" ] || stop_group "${job%% *}"
            is_agent "$$" "$name" && continue # it looks for that file
            # A killed agent lets no clocks go; when no host starts another one either, this is who does.
            is_forsaken && let_go && free_locks
            return
        fi
        if [ -n "$job" ] && [ "$left" -le 0 ]; then
            printf '%s\n' "${job#* }" >limit_over
            stop_group "${job%% *}"
        fi
        [ -d "/proc/$$" ] || [ -n "$job" ] || is_forsaken || return
    done
}

# Fills $job with "PID ID" of the runner at work, or with nothing, and $left with its seconds. Clocks are noted from the
# second look on: a program that starts is no work. Where our folder was removed, the job known last is the one.
find_job() {
    if read -r pid limit id 2>/dev/null <child && [ -d "/proc/$pid" ]; then
        [ "$job" = "$pid $id" ] || { job="$pid $id" left=$limit; return; }
        note_clocks
    elif [ -e job_list ] || ! [ -d "/proc/${job%% *}" ]; then
        job=
    fi
    left=$((left - 1))
}

age_lease() {
    lease_left=$((lease_left - 1))
    now=''
    read -r now 2>/dev/null <lease
    [ "$now" = "$last" ] || { last=$now lease_left=$lease_s; }
}

# Appends a reading in one write, since this process may be ended at any moment; a semicolon ends what is whole.
note_clocks() {
    read_khz scaling_cur_freq
    khz=${khz#\[}
    khz=${khz%\]}
    [ -z "$khz" ] || printf '%s;\n' "$khz" >>working
}

# Fills $working with the last three readings (in one alone the runner may have been between two models); null when
# there is none, as in a job below a second.
read_working() {
    working=
    for reading in $(tail -n 3 working 2>/dev/null); do
        case $reading in *';') working=$working${working:+,}[${reading%;}] ;; esac
    done
    working=${working:+[$working]}
    working=${working:-null}
}

is_forsaken() {
    [ -e "$mark" ] && is_ours "$lock" && ! is_agent "$$" "$name"
}

# run_job ID LIMIT_S
run_job() {
    [ -e lease_over ] && bye lease 1
    free=$(free_kb)
    # a phone's sh takes what 32 bits do not hold for a negative number; ten digits are enough for anybody
    if [ "$(number "${free:-x}")" != null ] && [ ${#free} -lt 10 ] && [ "$free" -lt "$min_free_kb" ]; then
        bye disk 1 ",\"free_kb\":$free"
    fi
    say "{\"t\":\"start\",\"id\":\"$1\"}"
    [ -n "$after" ] || { read_own_ticks && after=$(facts); } # those after the last job are a moment old
    before=$after
    rm -f limit_over working
    $setsid sh ./runner "$1" "$name" >"$1.out" 2>"$1.err" </dev/null &
    child=$!
    printf '%s\n' "$child $2 $1" >child
    wait "$child"
    rc=$?
    child=
    rm -f child
    [ -e lease_over ] && bye lease 1
    limit=false
    [ "$(first limit_over)" = "$1" ] && limit=true
    sum=$(sha256sum <"$1.out" 2>/dev/null)
    size=$(wc -c <"$1.out" 2>/dev/null)
    read_own_ticks
    after=$(facts)
    read_working
    say "{\"t\":\"res\",\"id\":\"$1\",\"rc\":$rc,\"limit\":$limit,\"out_bytes\":$(number "${size##* }"),\"out_sha256\":\"${sum%% *}\",\"before\":$before,\"after\":${after%\}},\"working_frequencies_khz\":$working}}"
}

# Fills $finished with the ids that have a result and $started with the ids of all starts, from an earlier agent.
read_journal() {
    finished=' ' started=' '
    [ -e journal ] || return
    [ -z "$(tail -c 1 journal)" ] || printf '\n' >>journal # a torn last line is closed
    while read -r line; do
        id=${line#*\"id\":\"}
        id=${id%%\"*}
        case $line in # torn, a result may end in the brace of its facts
        '{"t":"res",'*'}}' | '{"t":"res",'*',"after":null}') finished="$finished$id " ;;
        '{"t":"start",'*'}') started="$started $id " ;;
        esac
    done <journal
}

setsid='' patience=''
most=256 # clusters and cooling devices that are told of: a large server has one of each per core, a line 64 KiB
command -v setsid >/dev/null 2>&1 && setsid=setsid
command -v timeout >/dev/null 2>&1 && patience='timeout 10'
cores=$(cluster_cores) fixed=null fixed_code=null found_limits=null own_ticks=null
if [ "$1" = facts ]; then
    cd "$2" || exit 1
    [ -e fixed_performance ] && fixed='"on"'
    facts
    exit 0
fi

run=$1 session=$2 lease_s=$3 min_free_kb=$4 clocks=$5
after='' child='' watcher='' let_go_code=''
name=${run##*/}
lock=${run%/*}/lock
mark=${run%/*}/fixed_performance
shared=''
for place in "${PROXYLESS_LOCK_DIRECTORY:-/data/local/tmp}" /tmp; do
    # Into a folder of that name a link would be made, and lock nothing.
    [ -d "$place" ] && [ -w "$place" ] && ! [ -d "$place/proxyless.lock" ] && shared=$place/proxyless.lock && break
done
cd "$run" || exit 1
take_locks
printf '%s\n' "$$" >pid
end_orphan
read_journal
rm -f lease_over
[ -e spare ] || head -c 65536 /dev/zero >spare 2>/dev/null
trap 'trap "" TERM HUP INT; [ -z "$child" ] || stop_group "$child"; bye signal 1' TERM HUP INT

sum=$(sha256sum <"$0")
say "{\"t\":\"hello\",\"protocol\":1,\"agent\":\"${sum%% *}\",\"session\":\"$session\",\"pid\":$$}"
watch &
watcher=$!
let_go && sleep 1 # as in fix_clocks
[ "$clocks" = fixed ] && fix_clocks

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

bye 'done' 0
