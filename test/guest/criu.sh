# Sourced in the guest by scripts that work with CRIU: prepares the machine, then functions.
mkdir -p /run /var/run /etc /work /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ip link set lo up
[ ! -e /sys/class/net/eth0 ] || { ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0; }
sysctl -qw vm.unprivileged_userfaultfd=1 2>/dev/null
export LANG=C

# start NAME COMMAND...: a program in a session of its own, no child of ours, so that init reaps it. Its PID is $PID.
start() {
  local name=$1
  shift
  rm -f "/work/$name.pid"
  (setsid sh -c 'echo $$ > "/work/$0.pid"; exec "$@"' "$name" "$@" </dev/null >>"/work/$name.out" 2>&1 &)
  until [ -s "/work/$name.pid" ]; do sleep 0.05; done
  PID=$(cat "/work/$name.pid")
}

# start_braid NAME PROCESSES THREADS PAGES: several processes with threads and shared memory; reports to /work/NAME.report.
start_braid() {
  : >"/work/$1.report"
  # CRIU dumps System V memory only of an IPC namespace that it dumps.
  start "$1" unshare -i braid "$2" "$3" "$4" "/work/$1.report"
  until grep -q rw-s "/proc/$PID/maps" 2>/dev/null; do sleep 0.05; done
}

# start_redis NAME KEYS: redis-server and, its parent, a client that keeps writing; reports to /work/NAME.report.
start_redis() {
  : >"/work/$1.report"
  cat >"/work/$1.conf" <<CONF
port 6379
unixsocket /work/$1.sock
save ""
CONF
  start "$1" sh -c "redis-server /work/$1.conf & exec scribe /work/$1.sock $2 /work/$1.report"
  until ask_redis DBSIZE | grep -q "$2"; do sleep 0.2; done
}

ask_redis() {
  printf '%s\r\n' "$*" | timeout 20 nc 127.0.0.1 6379 2>/dev/null
}

# gone PID: waits until the process is reaped.
gone() {
  local waited=0
  while [ -e "/proc/$1" ]; do
    sleep 0.05
    waited=$((waited + 1))
    [ "$waited" -lt 1200 ] || { echo "process $1 does not end"; return 1; }
  done
}

# kill_tree PID: ends it and its children.
kill_tree() {
  local each
  for each in "$1" $(cat "/proc/$1/task/"*/children 2>/dev/null); do kill -9 "$each" 2>/dev/null; done
  for each in "$@"; do gone "$each"; done
}

# report NAME PID LINES: asks the program what its memory looks like and prints the lines that it answers.
report() {
  local before after
  before=$(wc -l <"/work/$1.report")
  kill -USR1 "$2" || return 1
  for after in $(seq 1200); do
    [ $(($(wc -l <"/work/$1.report") - before)) -lt "$3" ] || break
    sleep 0.05
  done
  tail -n "+$((before + 1))" "/work/$1.report"
}

# listening PORT: waits until a server listens there.
listening() {
  local port
  port=$(printf %04X "$1")
  until grep -q ":$port [0-9A-F]*:0000 0A" /proc/net/tcp; do sleep 0.05; done
}

log() { echo "-v4 -o /work/$1.log"; }

# incremental DIRECTORY NUMBER COMMAND ARGUMENTS...: CRIU on $PID into DIRECTORY/NUMBER, on top of the number before.
incremental() {
  local directory=$1 number=$2 command=$3
  shift 3
  mkdir -p "$directory/$number"
  [ "$number" = 1 ] || set -- "$@" --prev-images-dir "../$((number - 1))"
  # shellcheck disable=SC2046
  criu $command -t "$PID" -D "$directory/$number" --track-mem $(log criu) "$@" || {
    grep Error /work/criu.log
    return 1
  }
}
