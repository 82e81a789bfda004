#!/bin/sh
# What the packages do on a host, as functions. `./package` puts this text before each script of deb/ and into the spec of rpm/.
#
# Rules:
# - No role is started that did not run. A running one is restarted, if the new version accepts its configuration.
# - Nobody's configuration is written, and no line that is not delivered is deleted.
# - Without systemd (a container, a build root) nothing is started, stopped or enabled.
set -e

VERSION=@VERSION@
# The newest schema of the ledger that this version reads.
LEDGER_SCHEMA=@LEDGER_SCHEMA@
# In the order of a restart: the relay brings the ledger to this version.
UNITS="logferry-relay logferry-forwarder logferry-monitor logferry-housekeeper logferry-housekeeper-once
    logferry-indexer logferry-console logferry-collector logferry-sender logferry"
USERS=/usr/lib/sysusers.d/logferry.conf
STATE=/var/lib/logferry
CONFIGURATION=/etc/logferry

say() { printf 'logferry: %s\n' "$1" >&2; }

systemd_runs() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }

# The number after a word in the output of `logferry ledger-versions` of the installed version; nothing if that cannot say it.
installed_version_says() {
    [ -x /usr/bin/logferry ] || return 0
    /usr/bin/logferry ledger-versions 2>/dev/null | sed -n "s/^$1 \([0-9]*\)\$/\1/p"
}

# The schema in the header of a ledger: bytes 60 to 63, `user_version` (https://www.sqlite.org/fileformat.html).
schema_in_header() {
    [ -s "$1" ] || return 0
    set -- $(od -An -tu1 -j60 -N4 "$1" 2>/dev/null)
    [ $# -ne 4 ] || echo $((($1 * 256 + $2) * 256 * 256 + $3 * 256 + $4))
}

# Before anything is unpacked: this version must be able to read the ledger. The installed version knows the ledger's place and
# reads its write-ahead log too. After a removal only the file is left.
refuse_newer_ledger() {
    found=$(installed_version_says found)
    [ -n "$found" ] || found=$(schema_in_header "$STATE/relay/ledger.db")
    if [ -n "$found" ] && [ "$found" -gt "$LEDGER_SCHEMA" ]; then
        say "this host's ledger has schema $found, and version $VERSION reads up to $LEDGER_SCHEMA: its relay would not start."
        say "Nothing was changed, and the roles run on. Keep the version that is installed. To go back all the same, stop the"
        say "roles and restore the data folder as it was before the upgrade."
        exit 1
    fi
}

make_group() { getent group "$1" >/dev/null || groupadd --system "$1"; }

# The users and groups of sysusers.d/logferry.conf. Where systemd-sysusers is missing, useradd makes the same ones.
make_users() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers logferry.conf
        return
    fi
    sed -n 's/^u \([^ ]*\) - "\(.*\)" \(.*\)/\1:\2:\3/p' "$USERS" | while IFS=: read -r user comment home; do
        make_group "$user"
        getent passwd "$user" >/dev/null || useradd --system --gid "$user" --comment "$comment" --home-dir "$home" \
            --no-create-home --shell /usr/sbin/nologin "$user"
    done
    sed -n 's/^m //p' "$USERS" | while read -r user group; do
        usermod --append --groups "$group" "$user"
    done
}

# Folders as in tmpfiles.d/logferry.conf.
make_folders() {
    if command -v systemd-tmpfiles >/dev/null; then
        systemd-tmpfiles --create logferry.conf
        return
    fi
    install -d -m 0750 -o root -g logferry "$CONFIGURATION"
    install -d -m 0750 -o logferry -g logferry "$STATE"
}

# Units that were copied by hand go before those of the package.
name_shadowing_units() {
    for unit in $UNITS; do
        file=/etc/systemd/system/$unit.service
        [ ! -f "$file" ] || say "$file is used in place of the package's unit; delete it, then run systemctl daemon-reload"
    done
    file=/etc/systemd/system/logferry-housekeeper.timer
    [ ! -f "$file" ] || say "$file is used in place of the package's timer; delete it, then run systemctl daemon-reload"
}

# Whether the new version accepts the configuration of a unit that runs. accepts UNIT ROLE
#
# A reload asks it inside of the unit: with the variables, user and sandbox that the role has, and that this script has not. A reload that
# fails changes nothing, and one that does not is followed by the restart. A unit that was copied by hand may have another one.
accepts() {
    case $(systemctl show --property=ExecReload "$1.service" 2>/dev/null) in
    *"check --for $2"*)
        asked=$(date '+%F %T')
        systemctl reload "$1.service" 2>/dev/null && return
        journalctl --sync 2>/dev/null || true
        journalctl --quiet --no-pager --output=cat --lines=20 --since="$asked" --unit="$1.service" 2>/dev/null || true
        return 1
        ;;
    *) /usr/bin/logferry check --for "$2" 2>&1 ;;
    esac
}

# Restarts the roles that run. One whose configuration the new version does not accept runs on with the old program: a restart
# would only stop it.
restart_running() {
    systemd_runs || return 0
    systemctl daemon-reload || true
    accepted=
    for unit in $UNITS; do
        # A single run ends by itself.
        [ "$unit" != logferry-housekeeper-once ] || continue
        systemctl --quiet is-active "$unit.service" 2>/dev/null || continue
        role=${unit#logferry-}
        [ "$role" != logferry ] || role=run
        if reason=$(accepts "$unit" "$role"); then
            accepted="$accepted $unit.service"
        else
            say "$unit runs on with the program from before the upgrade, as version $VERSION does not accept its configuration:"
            printf '%s\n' "${reason:-journalctl --unit $unit has the reason}" >&2
            say "Correct it, then run systemctl restart $unit"
        fi
    done
    [ -z "$accepted" ] || systemctl try-restart $accepted || say "a role did not start again: systemctl status 'logferry*'"
}

stop_and_disable() {
    systemd_runs || return 0
    systemctl --quiet disable --now logferry-housekeeper.timer || true
    for unit in $UNITS; do
        [ ! -f "/usr/lib/systemd/system/$unit.service" ] || systemctl --quiet disable --now "$unit.service" || true
    done
}

forget_units() {
    systemd_runs || return 0
    systemctl daemon-reload || true
}

# The folders of the relay and of the collector, after the names of their settings: the usual ones, and those that the configuration
# names elsewhere. A comment that looks like a setting costs nothing.
state_folders() {
    echo "data_dir $STATE/relay"
    echo "state_dir $STATE/collector"
    sed -n 's/.*[{,[:space:]]\(data_dir\|state_dir\):[[:space:]]*["'\'']*\([^]["'\'',}[:space:]]*\).*/\1 \2/p' \
        "$CONFIGURATION/logferry.yaml" 2>/dev/null || true
}

# The first files with lines that nobody else may have: batches that are not at every destination, and captures of the collector,
# of which only its sender knows whether they are shipped.
undelivered() {
    state_folders | sort -u | while read -r setting folder; do
        case $setting in
        data_dir)
            for batches in open ready failed; do
                [ ! -d "$folder/$batches" ] || find "$folder/$batches" -type f -size +0c
            done
            ;;
        state_dir) [ ! -d "$folder" ] || find "$folder" -type f -name '*.log*' -size +0c ;;
        esac
    done | head -n 3
}

# Deletes configuration and state. If lines wait for delivery, both stay whole, and this says so: without the configuration and its
# keys nobody could deliver them.
purge() {
    left=$(undelivered)
    if [ -z "$left" ]; then
        # A disk that is mounted there is emptied, and its mount point stays.
        rm -rf "$STATE" "$CONFIGURATION" || say "what is left of $STATE has to be removed by hand"
        return
    fi
    say "$STATE is kept: there are lines that may not be delivered, among them those in"
    printf '%s\n' "$left" | sed 's/^/    /' >&2
    say "$CONFIGURATION is kept too, with the keys to deliver them. Install logferry again and start its roles. If nobody needs the"
    say "lines, run rm -r $STATE $CONFIGURATION"
}
