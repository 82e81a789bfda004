#!/usr/bin/env bash
# The way from the README on a real systemd: two Debian containers are booted, and the package is installed and set up in them by
# the commands of the documents. nginx writes lines in one, the other delivers them to an SFTP drop.
#
#   tests/systemd/walk.sh PACKAGE.deb [NEWER.deb [FOLDER]]
#
# NEWER is what is upgraded to (the same package by default). FOLDER keeps the bare Debian between runs (target/systemd by default; 600 MB). Needs root, debootstrap, systemd-nspawn (Debian's
# systemd-container) and ip. The containers have a network of their own, which leads nowhere. Nothing is started on this host.
set -euo pipefail
cd "$(dirname "$0")/../.."

PACKAGE=$(realpath "$1")
NEWER=$(realpath "${2:-$1}")
FOLDER=$(realpath -m "${3:-target/systemd}")
readonly PACKAGE NEWER FOLDER
readonly RELAY=192.0.2.10 WEB=192.0.2.21
readonly BASE_PACKAGES=systemd,systemd-sysv,dbus,nginx-light,openssh-server,openssh-sftp-server,cron,logrotate,iproute2,procps,curl
# Of each booted host: nspawn's process.
declare -A nspawn=()
work=

say() { printf '\n== %s\n' "$1"; }

fail() {
    printf 'walk: %s\n' "$1" >&2
    for host in "${!nspawn[@]}"; do
        printf '\n-- journal of %s\n' "$host" >&2
        on "$host" journalctl --no-pager -n 60 -u 'logferry*' >&2 || tail -n 30 "$work/$host.console" >&2
    done
    exit 1
}

clean_up() {
    local host
    for host in "${!nspawn[@]}"; do
        kill -TERM "${nspawn[$host]}" 2>/dev/null || true
    done
    for host in "${!nspawn[@]}"; do
        wait "${nspawn[$host]}" 2>/dev/null || true
    done
    for host in relay-1 web-1; do
        ip netns delete "$(network "$host")" 2>/dev/null || true
        # nspawn removes it only where systemd runs.
        rmdir "/run/systemd/nspawn/propagate/$(network "$host")" 2>/dev/null || true
    done
    [[ -z $work ]] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

network() { printf 'logferry-%s-%s' "$$" "$1"; }

# Runs a command in a booted container.
on() {
    local leader
    leader=$(pgrep -P "${nspawn[$1]}" | head -n 1)
    shift
    nsenter --target "$leader" --mount --uts --ipc --net --pid --root --wd env -i HOME=/root LC_ALL=C.UTF-8 \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# Waits until a shell command succeeds there. until_on HOST WHAT SECONDS COMMAND
until_on() {
    local end=$((SECONDS + $3))
    until on "$1" sh -c "$4" >/dev/null 2>&1; do
        [[ $SECONDS -lt $end ]] || fail "in vain for $3 s on $1: $2"
        sleep 0.3
    done
}

make_base() {
    [[ ! -e $FOLDER/base ]] || return 0
    say "a Debian with nginx and OpenSSH, once"
    local suite
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    mkdir -p "$FOLDER"
    rm -rf "$FOLDER/base.making"
    debootstrap --variant=minbase --include="$BASE_PACKAGES" "$suite" "$FOLDER/base.making" >"$FOLDER/debootstrap.log" 2>&1 ||
        fail "debootstrap: $(tail -n 5 "$FOLDER/debootstrap.log")"
    rm -rf "$FOLDER/base.making/var/cache/apt/archives"
    mv "$FOLDER/base.making" "$FOLDER/base"
}

# Lays out the disk of a host.
lay_out() {
    local root=$work/$1
    cp -a "$FOLDER/base" "$root"
    echo "$1" >"$root/etc/hostname"
    : >"$root/etc/machine-id"
    printf '127.0.0.1 localhost\n%s relay-1\n%s web-1\n' $RELAY $WEB >"$root/etc/hosts"
    cp "$PACKAGE" "$root/root/logferry.deb"
    cp "$NEWER" "$root/root/newer.deb"
}

# Boots hosts, and waits until all are up. Their network is there already.
boot() {
    local host
    for host in "$@"; do
        systemd-nspawn --quiet --boot --directory="$work/$host" --machine="$(network "$host")" --register=no --keep-unit \
            --console=pipe --network-namespace-path="/run/netns/$(network "$host")" </dev/null >"$work/$host.console" 2>&1 &
        nspawn[$host]=$!
    done
    for host in "$@"; do
        until_on "$host" "systemd has booted" 60 'systemctl is-system-running | grep -Eq "running|degraded"'
    done
}

# With --keep-unit nspawn ends where a machine would boot again.
shut_down() {
    on "$1" systemctl poweroff
    wait "${nspawn[$1]}" || true
    unset "nspawn[$1]"
}

lay_networks() {
    local relay web
    relay=$(network relay-1) web=$(network web-1)
    ip netns add "$relay"
    ip netns add "$web"
    ip link add ferry netns "$relay" type veth peer name ferry netns "$web"
    ip -n "$relay" address add $RELAY/24 dev ferry
    ip -n "$web" address add $WEB/24 dev ferry
    for host in "$relay" "$web"; do
        ip -n "$host" link set lo up
        ip -n "$host" link set ferry up
    done
}

# What others have on the relay host: the client's SFTP drop, and a mail server.
lay_out_servers() {
    on relay-1 sh -e <<'DROP'
useradd --create-home ferry
install -d -o ferry -g ferry /srv/drop
install -d -m 0700 -o ferry -g ferry /home/ferry/.ssh
cat >/usr/local/bin/mail-sink <<'SINK'
#!/bin/bash
# Accepts a connection's mails and keeps them.
say() { printf '%s\r\n' "$1"; }
say '220 sink'
while IFS= read -r line; do
    printf '%s\n' "$line" >>/var/log/mail-sink
    case $is_data:$line in
    yes:.*) [[ $line != $'.\r' ]] || { is_data=no; say '250 kept'; } ;;
    yes:*) ;;
    *:DATA*) is_data=yes; say '354 go on' ;;
    *:QUIT*) say '221 bye'; exit ;;
    *) say '250 fine' ;;
    esac
done
SINK
chmod +x /usr/local/bin/mail-sink
printf '[Socket]\nListenStream=127.0.0.1:25\nAccept=yes\n' >/etc/systemd/system/mail-sink.socket
printf '[Service]\nExecStart=/usr/local/bin/mail-sink\nStandardInput=socket\n' >/etc/systemd/system/mail-sink@.service
systemctl daemon-reload
systemctl start mail-sink.socket
DROP
}

set_up_relay_host() {
    say "relay host: install, init, check"
    on relay-1 apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends /root/logferry.deb
    lay_out_servers
    on relay-1 logferry init relay-host --yes --sftp ferry@$RELAY:/srv/drop --to ops@example.com ||
        fail "init relay-host"
    on relay-1 sh -c 'install -m 0600 -o ferry -g ferry /etc/logferry/id_ed25519.pub /home/ferry/.ssh/authorized_keys'
    on relay-1 logferry trust edw --yes
    # Batches of a few seconds, so that this ends soon.
    on relay-1 sed -i 's/^  # batch: .*/  batch: {window: 10s, seal_after: 1s, timestamp: arrival}/' /etc/logferry/logferry.yaml
    # On a busy machine sshd was seen to end the first login. What it says of that is shown, and the second one counts.
    on relay-1 logferry check --connect ||
        { on relay-1 journalctl --no-pager --lines 20 --unit ssh && on relay-1 logferry check --connect; } ||
        fail "check finds something on the relay host"
    closed_key
    on relay-1 systemctl enable --now logferry-relay logferry-forwarder logferry-monitor logferry-housekeeper \
        logferry-indexer logferry-console || fail "a role did not start"
    echo 'a password of some length' | on relay-1 logferry console user add anna
}

# With only one unit enabled, the others' roles are looked at as the users of their units all the same.
closed_key() {
    local key=/etc/logferry/id_ed25519
    on relay-1 systemctl enable logferry-relay
    on relay-1 sh -c "stat -c '%u:%g %a' $key >/root/key; chown root:root $key; chmod 0600 $key"
    ! on relay-1 logferry check >"$work/closed" || fail "check is content with a key that the forwarder may not read"
    grep -q "key_file $key" "$work/closed" || fail "check does not name the key: $(cat "$work/closed")"
    on relay-1 sh -c "read -r owner mode </root/key; chown \$owner $key; chmod \$mode $key"
    on relay-1 logferry check || fail "check finds something with one unit enabled"
}

set_up_web_host() {
    say "nginx host: install, init, check"
    on web-1 apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends /root/logferry.deb
    on web-1 logferry init sender --yes --relay http://$RELAY:5001 --collect syslog --collect http || fail "init sender"
    on web-1 logferry check --connect || fail "check finds something on the nginx host"
    on web-1 systemctl enable --now logferry-sender logferry-collector || fail "a role did not start"
}

# Lines in the drop are those that nginx has written; the collector's records are JSON.
same_lines() {
    on relay-1 sh -c 'cat /srv/drop/*.log 2>/dev/null' | grep -v '^{' | sort >"$work/delivered"
    on web-1 sh -c 'cat /var/log/nginx/access.log*' | sort >"$work/written"
    [[ -s $work/written ]] && cmp -s "$work/written" "$work/delivered"
}

until_same() {
    local end=$((SECONDS + 60))
    until same_lines; do
        [[ $SECONDS -lt $end ]] || fail "$1: $(wc -l <"$work/written") lines were written, $(wc -l <"$work/delivered") delivered"
        sleep 0.5
    done
    echo "$1: $(wc -l <"$work/delivered") lines delivered, each once"
}

ask_nginx() {
    on web-1 sh -c 'for i in 1 2 3 4 5 6 7 8 9; do curl -s -o /dev/null "http://127.0.0.1/$1-$i"; done' sh "$1"
}

walk() {
    say "lines from nginx to the drop"
    ask_nginx first
    until_same "at first"
    on web-1 logrotate --force /etc/logrotate.d/nginx
    ask_nginx rotated
    until_same "after logrotate"
    on web-1 logger --server 127.0.0.1 --port 514 --tcp hello by syslog
    on web-1 curl -sf --data-binary 'hello by http' http://127.0.0.1:5000/lines || fail "the collector takes no record"
    for record in 'hello by syslog' 'hello by http'; do
        until_on relay-1 "the record '$record' is delivered" 60 "grep -q '$record' /srv/drop/*.log"
    done
    on relay-1 logferry audit || fail "the audit finds a difference"
    on relay-1 logferry status || fail "status finds something on the relay host"
    on web-1 logferry status || fail "status finds something on the nginx host"
    on relay-1 logferry search first-5 | grep -q first-5 || fail "the search does not find a line"
    on relay-1 curl -sf -o /dev/null http://127.0.0.1:8080/login || fail "the console does not answer"

    say "reload, upgrade, boot again"
    on relay-1 sh -c "systemctl reload 'logferry*.service'" || fail "a reload failed"
    mistyped
    on relay-1 apt-get -qq -o Dpkg::Use-Pty=0 install --reinstall /root/newer.deb || fail "the upgrade of the relay host failed"
    ask_nginx later
    on web-1 apt-get -qq -o Dpkg::Use-Pty=0 install --reinstall /root/newer.deb || fail "the upgrade of the nginx host failed"
    until_same "after the upgrade"
    shut_down relay-1
    ask_nginx meanwhile
    shut_down web-1
    boot relay-1 web-1
    ask_nginx again
    until_same "after both hosts were booted again"
    units_are_well
}

# A mistake in one role's section stops that role only, and systemctl says so at once.
mistyped() {
    local config=/etc/logferry/logferry.yaml
    on relay-1 cp -p $config /root/right.yaml
    on relay-1 sed -i 's/^monitor:$/monitor:\n  intervall: 60s/' $config
    ! on relay-1 systemctl reload logferry-monitor 2>/dev/null || fail "the monitor was reloaded with a mistake in its section"
    until_on relay-1 "the journal has the reason" 10 \
        'journalctl -u logferry-monitor -o cat | grep -q "monitor.intervall: unknown key; did you mean .interval.?"'
    on relay-1 systemctl is-active --quiet logferry-monitor || fail "a reload that failed has stopped the monitor"
    on relay-1 systemctl restart logferry-forwarder || fail "a mistake of the monitor's section stops the forwarder"
    ! on relay-1 systemctl restart logferry-monitor 2>/dev/null || fail "the monitor was started with a mistake in its section"
    on relay-1 cp -p /root/right.yaml $config
    on relay-1 systemctl restart logferry-monitor || fail "the monitor does not start with the mistake corrected"
}

# unit_is_well HOST ROLE
unit_is_well() {
    on "$1" systemctl is-active --quiet "logferry-$2" || fail "logferry-$2 does not run on $1"
    # In tenths: 2.0.
    on "$1" systemd-analyze security --threshold=20 "logferry-$2.service" >"$work/security" ||
        fail "logferry-$2 is exposed: $(tail -n 1 "$work/security")"
}

units_are_valid() {
    local mistakes
    mistakes=$(on relay-1 sh -c 'systemd-analyze verify /usr/lib/systemd/system/logferry*.service /usr/lib/systemd/system/logferry*.timer' 2>&1) ||
        fail "systemd finds a unit invalid: $mistakes"
    # It ends with 0 for a setting that it does not know.
    ! grep -q logferry <<<"$mistakes" || fail "systemd finds something in a unit: $mistakes"
}

units_are_well() {
    local role host
    units_are_valid
    for role in relay forwarder monitor housekeeper indexer console; do unit_is_well relay-1 $role; done
    for role in sender collector; do unit_is_well web-1 $role; done
    for host in relay-1 web-1; do
        # For people who read the output: what the roles have complained about.
        on "$host" journalctl --no-pager -p warning -u 'logferry*' -o cat >"$work/warnings"
        [[ ! -s $work/warnings ]] || { echo "warnings on $host:"; cat "$work/warnings"; }
    done
}

[[ $EUID -eq 0 ]] || fail "run it as root: it boots containers"
make_base
work=$(mktemp -d "$FOLDER/run-XXXXXX")
lay_networks
lay_out relay-1
lay_out web-1
boot relay-1 web-1
set_up_relay_host
set_up_web_host
walk
say "all is well, in $SECONDS s"
