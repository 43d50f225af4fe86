# Dumps programs in every way that has to be proved. $CHAIN, $REDIS, $CUT, $RESCUE, $TLS: ports of page servers of ckpt
# on the host. Prints lines "@@ WHAT: TEXT".
HOST="--page-server --address 10.0.2.2"

say() { sed "s|^|@@ $1: |"; }

# two_points NAME LINES ARGUMENTS...: three pre-dumps, a dump after which the program goes on, and the last one, of $PID
# into /out/NAME, each on top of the one before.
two_points() {
  local name=$1 lines=$2 number
  shift 2
  for number in 1 2 3; do
    incremental "/out/$name" "$number" pre-dump "$@"
    sleep 0.2
  done
  incremental "/out/$name" 4 'dump --leave-running' "$@"
  sleep 0.2
  report "$name" "$PID" "$lines" | say "$name between 4 and 5"
  incremental "/out/$name" 5 dump "$@"
  echo "$PID" >"/out/$name/pid"
  gone "$PID" | say "$name"
}

# The guest that restores has such PIDs free.
echo 20000 >/proc/sys/kernel/ns_last_pid
start_braid braid 3 3 16
two_points braid 9
start_redis redis 4000
two_points redis 1
start_braid dedup 3 3 16
two_points dedup 9 --auto-dedup
start_redis dedup-redis 4000
two_points dedup-redis 1 --auto-dedup
start_braid read 3 3 16
two_points read 9 --pre-dump-mode read
start_braid served 3 3 16
two_points served 9 $HOST --port "$CHAIN"
start_redis served-redis 4000
two_points served-redis 1 $HOST --port "$REDIS"

start_braid rescue 3 3 64
incremental /work/cut 1 pre-dump $HOST --port "$CUT"
incremental /work/lost 1 dump $HOST --port "$CUT" && echo "it succeeds" | say "lost dump"
report rescue "$PID" 9 | say "after the lost dump"
incremental /out/rescue 1 dump $HOST --port "$RESCUE"
gone "$PID" | say rescue
echo "$PID" >/out/rescue/pid

# No IPC namespace: CRIU dumps that of a child, and both then write to one TLS connection.
start_redis tls 1000
incremental /out/tls 1 dump $HOST --port "$TLS" --tls --tls-no-cn-verify \
  --tls-cacert /tls/ca.pem --tls-cert /tls/client.pem --tls-key /tls/client.key
gone "$PID" | say tls
echo "$PID" >/out/tls/pid
