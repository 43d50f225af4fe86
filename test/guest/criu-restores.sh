# Restores what ckpt has exported to /images. $LAZY, $LAZY_REDIS: ports of `ckpt page-server --lazy` on the host. Prints
# lines "@@ EXPORT: TEXT".
say() { sed "s|^|@@ $1: |"; }

# restore EXPORT NAME LINES ARGUMENTS...: what NAME was dumped as, from /images/EXPORT; the program tells how its memory is.
restore() {
  local export=$1 name=$2 lines=$3
  shift 3
  PID=$(cat "/pids/$name")
  : >>"/work/$name.report"
  : >>"/work/$name.out"
  # shellcheck disable=SC2046
  if criu restore -d -D "/images/$export" $(log restore) "$@"; then
    report "$name" "$PID" "$lines" | say "$export"
  else
    grep Error /work/restore.log | say "$export"
  fi
}

# restore_lazily EXPORT NAME LINES PORT: the same with the pages from the host.
restore_lazily() {
  local lazy
  criu lazy-pages --page-server --address 10.0.2.2 --port "$4" -D "/images/$1" $(log lazy-pages) &
  lazy=$!
  until [ -e "/images/$1/lazy-pages.socket" ]; do sleep 0.05; done
  restore "$1" "$2" "$3" --lazy-pages
  wait $lazy || grep Error /work/lazy-pages.log | say "$1"
  rm -f "/images/$1/lazy-pages.socket"
  report "$2" "$PID" "$3" | say "$1 with all pages"
  kill_tree "$PID"
}

for export in braid-4 braid-5 braid-all/5 dedup-5 served-4 served-5 read-5; do
  restore $export "${export%%-*}" 9
  kill_tree "$PID"
done
for export in redis-4 redis-5 served-redis-4 served-redis-5 dedup-redis-5; do
  restore $export "${export%-*}" 1
  ask_redis DBSIZE | say "$export keys"
  kill_tree "$PID"
done
restore rescue rescue 9
kill_tree "$PID"
restore tls tls 1
kill_tree "$PID"
restore_lazily braid-lazy braid 9 "$LAZY"
restore_lazily braid-lazy braid 9 "$LAZY"
restore_lazily redis-lazy served-redis 1 "$LAZY_REDIS"
