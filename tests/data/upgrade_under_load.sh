#!/usr/bin/env bash
# Upgrades a pipeline while lines flow, role by role, and counts every line at the destination.
#
#   upgrade_under_load.sh OLD NEW ORDER [SECONDS]     two logferry programs; ORDER: the roles, such as "relay forwarder sender-1 sender-2"
#
# Two senders, with a rotation of each log before and after the upgrades. The roles run on loopback ports; nothing is left running.
# Ends with 0 if every line is there once and the new version's audit finds no difference.
set -euo pipefail

old=$(realpath "$1") new=$(realpath "$2") order=$3 seconds=${4:-40}
rate=1000 relay_port=25301 sshd_port=25303
work=$(mktemp -d)
declare -A pids
clean_up() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap clean_up EXIT
mkdir -p "$work"/{delivered,sshd,log-1,log-2}
cd "$work"

ssh-keygen -q -t ed25519 -N '' -C '' -f sshd/host
ssh-keygen -q -t ed25519 -N '' -C '' -f sshd/client
printf '[127.0.0.1]:%s %s\n' "$sshd_port" "$(cat sshd/host.pub)" >sshd/known_hosts
cat >sshd/config <<CONFIG
ListenAddress 127.0.0.1
Port $sshd_port
HostKey $work/sshd/host
AuthorizedKeysFile $work/sshd/client.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
MaxStartups 100
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d $work
CONFIG
[[ $EUID -ne 0 ]] || mkdir -p /run/sshd
/usr/sbin/sshd -D -e -f sshd/config 2>sshd.log &
pids[sshd]=$!

cat >relay.yaml <<YAML
relay:
  data_dir: $work/relay
  groups: [{name: web-1, listen: "127.0.0.1:$relay_port", sources: ["127.0.0.1-127.0.0.9"]}]
  batch: {window: 5s, seal_after: 1s, slack: 1s}
  metrics: null
forwarder:
  interval: 1s
  destinations:
    - {name: drop, host: 127.0.0.1, port: $sshd_port, user: $(id -un), directory: delivered,
       key_file: $work/sshd/client, known_hosts: $work/sshd/known_hosts}
YAML
for n in 1 2; do
    cat >sender-$n.yaml <<YAML
sender:
  relay: "http://127.0.0.1:$relay_port"
  local_address: 127.0.0.$((n + 1))
  state_dir: $work/state-$n
  logs: [{path: $work/log-$n/access.log}]
  chunk: {max_delay: 200ms}
  retry: {initial: 50ms, max: 1s}
YAML
done

# start PROGRAM ROLE, where ROLE may end in a number
start() {
    local role=${2%-[0-9]} file=relay.yaml
    [[ $role != sender ]] || file=$2.yaml
    "$1" -c "$file" "$role" 2>>"$2.log" &
    pids[$2]=$!
}

# upgrade ROLE
upgrade() {
    local stopped_at
    stopped_at=$(date +%s%N)
    kill "${pids[$1]}"
    wait "${pids[$1]}"
    start "$new" "$1"
    echo "$1: stopped and started within $((($(date +%s%N) - stopped_at) / 1000000)) ms"
}

write_lines() {
    local n writing=()
    for n in 1 2; do
        "$new" generate --rate $rate --seconds "$2" --ids="h$n-$1" --out "log-$n/access.log" &
        writing+=($!)
    done
    wait "${writing[@]}"
}
rotate() { for n in 1 2; do mv log-$n/access.log "log-$n/access.log.$1"; done; }

for role in relay forwarder sender-1 sender-2; do start "$old" $role; done
write_lines before 5
rotate 2
write_lines during "$seconds" &
pids[writer]=$!
for role in $order; do
    sleep $((seconds / 6))
    upgrade "$role"
done
wait "${pids[writer]}"
rotate 1
write_lines after 3

written=$(cat log-*/access.log* | wc -l)
for _ in {1..300}; do
    delivered=$(find delivered -name '*.log' -exec cat {} + | wc -l)
    [[ $delivered -lt $written ]] || break
    sleep 0.2
done
ids() { grep -oh 'id=h[0-9a-z-]*' "$@" | sort; }
find delivered -name '*.log' -print0 | sort -z | xargs -0 cat >all
cat log-*/access.log* >expected
lost=$(comm -23 <(ids expected) <(ids all) | wc -l)
doubled=$(ids all | uniq -d | wc -l)
echo "written $written, delivered $delivered, lost $lost, doubled $doubled"
grep -hE 'WARN|ERROR' ./*.log | sed 's/^[^ ]* *//' | sort | uniq -c | sort -rn | head -n 8 || true
"$new" -c relay.yaml audit --json >audit.json && complete=0 || complete=$?
python3 -c "import json; a = json.load(open('audit.json')); print('audit:', a['totals'], a['discrepancies'])"
[[ $lost -eq 0 && $doubled -eq 0 && $delivered -eq $written && $complete -eq 0 ]]
