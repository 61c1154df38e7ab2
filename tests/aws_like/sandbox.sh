#!/bin/sh
# sandbox.sh ROOT TASK OPT RUNTIME LANG_DIR MEGABYTES MEMORY_GROUP COMMAND…: run the command as Lambda runs a function. Root is read-only,
# with the function in /var/task, its layers in /opt, AWS's runtime client in /var/runtime and Python in /var/lang; /tmp alone can be
# written, and holds so many megabytes; there is no /dev/shm, no home and no right; the user is Lambda's. To be run by root in
# mount, PID and IPC namespaces of its own (`unshare --mount --pid --ipc --fork`).
set -eu

root=$1 task=$2 opt=$3 runtime=$4 lang=$5 megabytes=$6 group=$7
shift 7
path=$PATH
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

[ -z "$group" ] || echo 0 >"$group/cgroup.procs"
mount -t tmpfs -o size=1m,mode=755 sandbox "$root"
cd "$root"
mkdir -p dev etc opt proc tmp usr var/task var/runtime var/lang

show() { # show FROM TO: read-only
    mount --bind "$1" "$2"
    mount -o remount,bind,ro,nosuid,nodev "$2"
}
show /usr usr
for name in bin sbin lib lib64; do
    [ -L "/$name" ] && ln -s "usr/$name" "$name" && continue
    [ -d "/$name" ] && mkdir "$name" && show "/$name" "$name"
done
show "$task" var/task
show "$opt" opt
show "$runtime" var/runtime
show "$lang" var/lang
for name in null zero full random urandom; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
ln -s /proc/self/fd dev/fd
for name in resolv.conf hosts nsswitch.conf ld.so.cache; do
    [ ! -e "/etc/$name" ] || cp -L "/etc/$name" "etc/$name"
done
mkdir -p etc/ssl
[ ! -d /etc/ssl ] || show /etc/ssl etc/ssl
echo 'sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin' >etc/passwd
echo 'sbx_user1051:x:990:' >etc/group
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t tmpfs -o "size=${megabytes}m,mode=1777,nosuid,nodev" tmp tmp
mount -o remount,ro "$root"
chroot "$root" /usr/bin/env -C /var/task setpriv --reuid 993 --regid 990 --clear-groups --no-new-privs \
    --bounding-set -all --inh-caps -all /usr/bin/env PATH="$path" "$@"
