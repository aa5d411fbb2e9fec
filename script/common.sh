# shellcheck shell=bash
# What the scripts here share; sourced by them. ROOT is the source tree.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT

# Debian's own tools and Python first: what the packages bring is what we build and test with.
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:$PATH

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# ---- who asked ----------------------------------------------------------------------------------------

# Through sudo we act as the person who called, not as root: the files in the tree, the registry and the
# daemon are theirs.
if [[ $EUID == 0 && -n ${SUDO_USER:-} && ${SUDO_USER} != root ]]; then
    CALLER=$SUDO_USER
else
    CALLER=$(id -un)
fi
CALLER_UID=$(id -u "$CALLER")
CALLER_HOME=$(getent passwd "$CALLER" | cut -d: -f6)

as_caller() {
    if [[ $CALLER_UID == "$EUID" ]]; then
        "$@"
    else
        runuser -u "$CALLER" -- env HOME="$CALLER_HOME" USER="$CALLER" LOGNAME="$CALLER" \
            XDG_RUNTIME_DIR="/run/user/$CALLER_UID" "$@"
    fi
}

# With the address of the caller's user bus, which a bare login (su, cron, ssh without PAM) does not have.
on_user_bus() {
    local dir=/run/user/$CALLER_UID
    [[ $CALLER_UID != "$EUID" || -z ${XDG_RUNTIME_DIR:-} ]] || dir=$XDG_RUNTIME_DIR
    as_caller env XDG_RUNTIME_DIR="$dir" DBUS_SESSION_BUS_ADDRESS="unix:path=$dir/bus" "$@"
}

have_user_bus() {
    command -v systemctl >/dev/null &&
        on_user_bus timeout 5 systemctl --user show-environment >/dev/null 2>&1
}

# ---- building -----------------------------------------------------------------------------------------

# Builds one program and the catalogues of texts into build/ (optimised, with debug information) and prints where the
# program is.
build_program() {
    local build=$ROOT/build found
    if [[ ! -e $build/build.ninja ]]; then
        as_caller meson setup "$build" "$ROOT" --buildtype=debugoptimized >&2 || die "meson setup failed"
    fi
    as_caller meson compile -C "$build" "$1:executable" services_monitor-gmo >&2 || die "the build of $1 failed"
    found=$(find "$build" -type f -name "$1" -perm -u+x -print -quit)
    [[ -n $found ]] || die "the build made no $1"
    echo "$found"
}

# ---- the daemon's unit --------------------------------------------------------------------------------

# The settings of the real unit as arguments for systemd-run, so that a daemon started from the source tree
# runs under the same restart, watchdog and hardening as an installed one.
unit_arguments() {
    local unit=$ROOT/data/services_api.service
    echo "--description=services_api, from the source tree"
    if [[ -e $unit ]]; then
        sed -n '/^\[Service\]/,/^\[/{ /^[A-Z][A-Za-z]*=/{ /^Exec/d; s/^/--property=/p } }' "$unit"
    else
        echo "--property=Type=notify"
    fi
}

# ---- the lab ------------------------------------------------------------------------------------------

# lab_registry PC OTHER...: the lab's registry with every app on every PC. service_targets is its last list, so more
# rows follow.
lab_registry() {
    local pc app
    cat "$ROOT/tests/lab/registry.yaml"
    printf '  - app_id: sshd\n    pc_id: %s\n' "$@"
    shift
    for pc in "$@"; do
        for app in sqlite_api web_ui auth_api queue_agent echo_socket backup_job report_once broken_api hang_api stolen_port; do
            printf '  - app_id: %s\n    pc_id: %s\n' "$app" "$pc"
        done
    done
}
