/**
 * A shell script that is process 1 of the `unshare` level. Arguments: the attempt's folder, bytes of /tmp, the script's
 * uid, system folders, paths below /etc, the number of further read-only paths and those paths, and the command to run.
 * It builds a root of its own on a tmpfs, moves into it, lets the old one go, and runs the command as its child, since
 * process 1 would be deaf to signals. Everything inside ends with it.
 */
export const unshareRoot = `
set -e
umask 022
scripts=$1 tmp=$2 uid=$3 system=$4 etc=$5 more=$6
shift 6
# Hides nothing that is needed: no script and no interpreter is below /sys.
new=/sys
hostname sandbox 2>/dev/null || true
cd /
mount -t tmpfs -o mode=755,size=1m none "$new"
readonly_bind() {
  if [ -d "$1" ]; then mkdir -p "$new$1"; else mkdir -p "$new\${1%/*}"; : > "$new$1"; fi
  mount --rbind "$1" "$new$1"
  mount -o remount,bind,ro "$new$1" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev "$new$1" 2>/dev/null || true
}
for path in $system; do
  if [ -L "$path" ]; then ln -s "$(readlink "$path")" "$new$path"; elif [ -d "$path" ]; then readonly_bind "$path"; fi
done
for path in $etc; do if [ -e "$path" ]; then readonly_bind "$path"; fi; done
mkdir -p "$new/etc" "$new/proc" "$new/dev" "$new/tmp" "$new/scripts" "$new/old"
printf 'root:x:0:0:root:/:/usr/sbin/nologin\\nscript:x:%s:%s:script:/tmp:/bin/sh\\n' "$uid" "$uid" > "$new/etc/passwd"
printf 'root:x:0:\\nscript:x:%s:\\n' "$uid" > "$new/etc/group"
mount -t tmpfs -o mode=755,size=64k none "$new/dev"
for device in null zero full random urandom; do : > "$new/dev/$device"; mount --bind "/dev/$device" "$new/dev/$device"; done
ln -s /proc/self/fd "$new/dev/fd"; ln -s fd/0 "$new/dev/stdin"; ln -s fd/1 "$new/dev/stdout"; ln -s fd/2 "$new/dev/stderr"
mkdir "$new/dev/shm"
mount -t tmpfs -o "mode=1777,nosuid,nodev,size=$tmp" none "$new/dev/shm"
mount -t tmpfs -o "mode=1777,nosuid,nodev,size=$tmp" none "$new/tmp"
# After /tmp, which would hide what of them is below it.
while [ "$more" -gt 0 ]; do readonly_bind "$1"; shift; more=$((more - 1)); done
mount -t proc -o nosuid,nodev,noexec none "$new/proc"
mount -o remount,ro,bind "$new/dev" 2>/dev/null || mount -o remount,ro "$new/dev"
mount --bind "$scripts" "$new/scripts"
for name in index.py index.mjs index.js input; do
  [ -e "$scripts/$name" ] || continue
  mount --bind "$scripts/$name" "$new/scripts/$name"
  mount -o remount,bind,ro "$new/scripts/$name" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev "$new/scripts/$name"
done
cd "$new"
pivot_root . old
cd /
umount -l /old
rmdir /old
mount -o remount,ro,bind / 2>/dev/null || mount -o remount,ro /
cd /scripts
exec 8>&2 2>/dev/null
"$@" 2>&8 8>&-
exit $?
`;
