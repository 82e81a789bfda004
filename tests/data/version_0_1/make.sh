#!/usr/bin/env bash
# Makes the data of this folder with a logferry binary of version 0.1. Needs sshd, ssh-keygen, python3.
#
#   make.sh LOGFERRY
#
# The roles run on loopback ports below /tmp/logferry-0.1. Nothing is left running.
set -euo pipefail

logferry=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/logferry-0.1
relay_port=25101 recorder_port=25102 sshd_port=25103
foreign=accessLog_24112008_40-59_127-0-0-1.log

[[ ! -e $work ]] || { echo "$work exists; remove it first" >&2; exit 1; }
mkdir -p "$work"/{log,relay,sender,delivered,sshd}
cd "$work"
running=()
clean_up() { for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done; }
trap clean_up EXIT

# 20 lines of one window of 20 minutes and two health checks, which the sender excludes. lines HOUR MINUTE NAME
lines() {
    local n
    for n in {0..19}; do
        printf '192.0.2.%d - - [20/Nov/2024:%02d:%02d:03 +0600] "GET /page?id=%s-%02d HTTP/1.1" 200 17 "-" "curl/8.14.1"\n' \
            "$((n + 1))" "$1" "$(($2 + n))" "$3" "$n"
        if ((n % 10 == 9)); then
            printf '10.0.0.9 - - [20/Nov/2024:%02d:%02d:04 +0600] "GET /health.php HTTP/1.0" 200 15 "-" "nginx/1.28.0 (health check)"\n' \
                "$1" "$(($2 + n))"
        fi
    done
}

# Writes the configuration. configure SENDER_PORT SEAL_AFTER
configure() {
    cat >logferry.yaml <<YAML
sender:
  relay: "http://127.0.0.1:$1"
  state_dir: $work/sender
  logs: [{path: $work/log/access.log, exclude: [["/health.php", "nginx/", "health check"]]}]
  chunk: {max_delay: 50ms}
  retry: {initial: 50ms, max: 500ms}
relay:
  data_dir: $work/relay
  groups: [{name: web-1, listen: "127.0.0.1:$relay_port", sources: ["127.0.0.1"]}]
  batch: {window: 20m, seal_after: $2, slack: 1s}
  metrics: null
forwarder:
  interval: 1s
  destinations:
    - {name: drop, host: 127.0.0.1, port: $sshd_port, user: $(id -un), directory: delivered, failed_every: 1h,
       key_file: $work/sshd/client, known_hosts: $work/sshd/known_hosts, retry: {attempts: 3, initial: 100ms, max: 1s}}
monitor:
  smtp: {host: 127.0.0.1, port: 9, from: ferry@example.com, to: [ops@example.com]}
  metrics: null
housekeeper: {compress_after: 1s, delete_after: 8760h}
YAML
}

start() { "$logferry" -c logferry.yaml "$1" 2>>"$1.log" & running+=($!); eval "$1=$!"; }
stop() { kill "$2" "${!1}"; wait "${!1}" || true; }
wait_for() {
    local _
    for _ in {1..300}; do
        if eval "$1" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "waited for: $1" >&2
    exit 1
}
received() { cat relay/{open,ready,sent,failed}/*/*.log 2>/dev/null | wc -l; }

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
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d $work
CONFIG
[[ $EUID -ne 0 ]] || mkdir -p /run/sshd
/usr/sbin/sshd -D -e -f sshd/config 2>sshd.log & running+=($!)

# Window 1 is delivered and compressed, window 2 delivered, window 3 failed.
configure $relay_port 1s
lines 8 0 sent-gz >log/access.log
start relay
start sender
start forwarder
wait_for '[[ -n $(ls relay/sent/*/*.log) ]]'
sleep 2
"$logferry" -c logferry.yaml housekeeper --once 2>>housekeeper.log
wait_for '[[ -n $(ls relay/sent/*/*.log.gz) ]]'
lines 8 20 sent >>log/access.log
wait_for '[[ -n $(ls relay/sent/*/*.log) ]]'
echo "not ours" >delivered/$foreign
lines 8 40 failed >>log/access.log
wait_for '[[ -n $(ls relay/failed/*/*.log) ]]'
stop forwarder -TERM
"$logferry" -c logferry.yaml monitor --once 2>>monitor.log || true

# Window 4 is sealed; window 5 stays open, and its log is a new file after a rotation.
lines 9 0 ready >>log/access.log
wait_for '[[ -n $(ls relay/ready/*/*.log) ]]'
stop relay -TERM
configure $relay_port 1h
start relay
mv log/access.log log/access.log.1
lines 9 20 open >log/access.log
wait_for '[[ $(received) -eq 80 ]]'
sleep 2
stop sender -TERM

# The relay is killed: its last commits are in the write-ahead log only. Then it is started again and stopped.
stop relay -KILL
cp -r relay relay_killed
start relay
sleep 1
stop relay -TERM
cp -r relay relay_stopped
cp -r sender sender_stopped

# Lines that the sender has not seen: late ones in the rotated file, and the next window.
lines 9 10 late >>log/access.log.1
lines 9 40 next >>log/access.log

# The requests with which the old sender would ship them.
python3 "$here/../record.py" $recorder_port $relay_port . & running+=($!)
configure $recorder_port 1h
start relay
sleep 0.5
start sender
wait_for '[[ $(received) -eq 120 ]]'
wait_for 'ls requests/*-heartbeat.http'
stop sender -TERM
stop relay -TERM

# What is kept. Locks are of no use; an empty shared-memory file is made again from the write-ahead log.
rm -rf "$here"/{relay_stopped,relay_killed,sender,log,delivered,requests}
rm -f relay_*/*.lock relay_*/ledger.db-shm sender_stopped/lock
gzip -9n relay_*/ledger.db*
mv relay_stopped relay_killed log delivered requests "$here"
mv sender_stopped "$here/sender"
cd "$here"
rm -rf "$work"
du -ab "$here"
