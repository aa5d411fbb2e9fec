#!/bin/bash
# The real window: X server, SDL, OpenGL, a mouse and a keyboard that are not ours. window.sh MONITOR
#
# The window writes where its items are (--record); xdotool goes there and clicks. Then: Ctrl+K, typing, Enter, Esc; no
# presents at rest; the settings it left behind; the software renderer; and a clear line where there is no display.
set -eu
monitor=$1
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$out"
}
trap finish EXIT
export TZ=UTC LANG=C LC_ALL=C HOME=$out XDG_CONFIG_HOME=$out
unset LANGUAGE WAYLAND_DISPLAY DBUS_SESSION_BUS_ADDRESS
# Mesa's and SDL's own leftovers are not ours to judge; the headless runs look for leaks.
export ASAN_OPTIONS=detect_leaks=0

fail() { echo "FAIL: $*" >&2; exit 1; }
wait_row() { # ID [TEXT]
    for _ in $(seq 200); do
        if awk -F'\t' -v id="$1" -v text="${2:-}" '$1 == id && (text == "" || $6 == text) {found = 1} END {exit !found}' "$out/record" 2>/dev/null; then return 0; fi
        sleep 0.05
    done
    fail "no item $1 ${2:-}"
}
click() {
    local x y
    read -r x y < <(awk -F'\t' -v id="$1" '$1 == id {print int(($2 + $4) / 2), int(($3 + $5) / 2); exit}' "$out/record")
    xdotool mousemove "$x" "$y"
    sleep 0.2
    xdotool click 1
}

python3 "$here/fake_api.py" --world small > "$out/port" &
pids+=($!)
Xvfb -displayfd 3 -screen 0 1440x900x24 -nolisten tcp 3> "$out/display" > /dev/null 2>&1 &
pids+=($!)
for _ in $(seq 100); do [ -s "$out/display" ] && [ -s "$out/port" ] && break; sleep 0.05; done
DISPLAY=:$(cat "$out/display")
export DISPLAY
url=http://127.0.0.1:$(cut -d' ' -f2 "$out/port")

start() {
    rm -f "$out/record"
    "$monitor" --url "$url" --size 1440x900 --scale 1 --record "$out/record" "$@" 2> "$out/log" &
    window_pid=$!
    pids+=($window_pid)
    wait_row title Overview
    wait_row recent/0
    local window
    window=$(xdotool search --sync --onlyvisible --class '^services_monitor$' | head -1)
    [ -n "$window" ] || fail "no window"
    xdotool windowmove "$window" 0 0
    xdotool windowfocus "$window"
    sleep 0.5
}
stop() {
    xdotool key ctrl+q
    for _ in $(seq 200); do kill -0 "$window_pid" 2>/dev/null || break; sleep 0.05; done
    wait "$window_pid" || fail "exit status $? after Ctrl+Q"
}

start
import -window root "$out/before.png"
click cell/aurgi-pc/broken_api
wait_row title broken_api
sleep 0.3
import -window root "$out/after.png"
changed=$(compare -metric AE "$out/before.png" "$out/after.png" null: 2>&1 || true)
awk -v n="$changed" 'BEGIN {exit !(n > 50000)}' || fail "the picture on the screen did not change ($changed pixels)"
xdotool key Escape
wait_row title Overview
xdotool key ctrl+k
wait_row palette-text
sleep 0.2
xdotool type --delay 40 stolen
wait_row palette/app/stolen_port
xdotool key Return
wait_row title stolen_port
xdotool key Escape
wait_row title Overview
xdotool mousemove 1430 890
sleep 2
presents() { awk -F'\t' '$1 == "frames" {split($6, n, " "); print n[2]}' "$out/record"; }
first=$(presents)
sleep 3
rest=$(($(presents) - first))
[ "$rest" -le 1 ] || fail "$rest presents while nothing changed"
xdotool key 3
wait_row title Services
stop
grep -q '^panel=services$' "$out/services_monitor/settings" || fail "the panel was not remembered"
grep -q '^width=1440$' "$out/services_monitor/settings" || fail "the size was not remembered"

rm "$out/services_monitor/settings"
start --software
grep -q 'drawing without it' "$out/log" || fail "the software renderer was not announced"
click nav/live
wait_row title Live
stop

unset DISPLAY
if "$monitor" --url "$url" --no-settings 2> "$out/log"; then fail "it opened a window without a display"; fi
grep -q 'there is no display to open a window on' "$out/log" || fail "no clear word on the missing display: $(cat "$out/log")"
echo PASS
