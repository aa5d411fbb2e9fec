#!/bin/sh
# Every text of the programs has a Spanish one, and each fits its format.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$root"
for file in $(grep -lE '\b(_|N_|P_|C_)\(' src/*/*.c); do
    case $file in */test-*) continue ;; esac
    grep -qx "$file" po/POTFILES || { echo "$file has texts and is not in po/POTFILES" >&2; exit 1; }
done
xgettext -o "$out/all.pot" --keyword=_ --keyword=N_ --keyword=P_:1,2 --keyword=C_:1c,2 --from-code=UTF-8 -f po/POTFILES
for po in po/*.po; do
    msgfmt -c -o "$out/all.mo" "$po"
    msgmerge -q --no-fuzzy-matching -o "$out/merged.po" "$po" "$out/all.pot"
    missing=$(msgattrib --untranslated "$out/merged.po" | grep -c '^msgid' || true)
    [ "$missing" -eq 0 ] || { echo "$po lacks:" >&2; msgattrib --untranslated --no-wrap "$out/merged.po" | grep '^msgid' >&2; exit 1; }
done
