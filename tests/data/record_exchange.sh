#!/usr/bin/env bash
# Records an exchange between two versions: the sender of one ships the rest of version_0_1/log to the relay of the other.
#
#   record_exchange.sh SENDER RELAY OUT       two logferry programs; OUT gets requests/ and answers/
#
# Nothing is left running.
set -euo pipefail

sender=$(realpath "$1") relay=$(realpath "$2") data=$(realpath "$(dirname "$0")")/version_0_1
mkdir -p "$3"
out=$(realpath "$3") work=$(mktemp -d)
relay_port=25201 recorder_port=25202
running=()
clean_up() {
    for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap clean_up EXIT

cp -r "$data/relay_stopped" "$work/relay"
cp -r "$data/sender" "$data/log" "$work"
gunzip "$work"/relay/ledger.db.gz
cat >"$work/logferry.yaml" <<YAML
sender:
  relay: "http://127.0.0.1:$recorder_port"
  state_dir: $work/sender
  logs: [{path: $work/log/access.log, exclude: [["/health.php", "nginx/", "health check"]]}]
  chunk: {max_delay: 50ms}
  retry: {initial: 50ms, max: 500ms}
relay:
  data_dir: $work/relay
  groups: [{name: web-1, listen: "127.0.0.1:$relay_port", sources: ["127.0.0.1"]}]
  batch: {window: 20m, seal_after: 1h, slack: 1s}
  metrics: null
YAML
"$relay" -c "$work/logferry.yaml" relay & running+=($!)
python3 "$data/../record.py" $recorder_port $relay_port "$out" & running+=($!)
sleep 1
"$sender" -c "$work/logferry.yaml" sender & running+=($!)
for _ in {1..100}; do
    # Two chunks: the late lines of the rotated file, and the next window.
    [[ $(find "$out/answers" -name 'chunks-*' | wc -l) -eq 2 && -e $out/answers/heartbeat.http ]] && exit 0
    sleep 0.2
done
echo "the sender did not ship the rest: $(ls "$out"/*)" >&2
exit 1
