# Makes the images of test/cases/criu in /out/cases, with the functions of criu.sh.
start_braid braid 2 2 8
for number in 1 2 3; do incremental /out/cases/braid $number pre-dump; sleep 0.2; done
incremental /out/cases/braid 4 dump
gone "$PID"

for name in snaps dedup; do
  start_braid $name 2 2 8
  options=
  [ $name = snaps ] || options=--auto-dedup
  for number in 1 2 3; do
    incremental /out/cases/$name $number 'dump --leave-running' $options
    sleep 0.2
  done
  kill_tree "$PID"
done

# The same through a page server, with a tap between.
mkdir -p /out/cases/session/said
start_braid session 2 2 8
tap 7001 7000 /out/cases/session/said &
tap=$!
for number in 1 2 3 4; do
  server=/out/cases/session/$number-server
  mkdir -p "$server"
  [ "$number" = 1 ] || ln -s "../$((number - 1))-server" "$server/parent"
  criu page-server --address 127.0.0.1 --port 7000 -D "$server" $(log page-server) &
  listening 7000
  command=pre-dump
  [ "$number" -lt 4 ] || command=dump
  incremental /out/cases/session $number $command --page-server --address 127.0.0.1 --port 7001
  wait $!
  sleep 0.2
done
kill $tap
gone "$PID"

# What a lazy restore asks of CRIU's own server.
mkdir -p /out/cases/lazy/said /out/cases/lazy/images /work/lazy
start_braid lazy 2 2 8
criu dump -t "$PID" -D /out/cases/lazy/images $(log dump)
gone "$PID"
cp /out/cases/lazy/images/* /work/lazy/
criu page-server --lazy-pages --address 127.0.0.1 --port 7000 -D /out/cases/lazy/images $(log page-server) &
tap 7001 7000 /out/cases/lazy/said &
tap=$!
listening 7000
listening 7001
criu lazy-pages --page-server --address 127.0.0.1 --port 7001 -D /work/lazy $(log lazy-pages) &
lazy=$!
until [ -e /work/lazy/lazy-pages.socket ]; do sleep 0.05; done
criu restore --lazy-pages -d -D /work/lazy $(log restore)
report lazy "$PID" 4
wait $lazy
kill $tap
kill_tree "$PID"
