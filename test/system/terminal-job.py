"""
A job of an interactive shell on a terminal is dumped, killed, and restored on another terminal.

    terminal-job.py NODE CKPT STORE

Prints what the second terminal showed, as one JSON document.
"""
import json, os, pty, re, select, subprocess, sys, time

node, ckpt, store = sys.argv[1:]
os.closerange(3, 1024)
LOOP = "sh -c 'n=0; while read line; do n=$((n+1)); echo heard $line $n; done'"


class Terminal:
    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ['TERM'] = 'dumb'
            os.execvp('bash', ['bash', '--norc', '--noediting', '-i'])
        self.shown = ''

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait(self, pattern, seconds=20):
        end = time.time() + seconds
        while not re.search(pattern, self.shown):
            if time.time() > end:
                raise SystemExit(f'no {pattern!r} in {self.shown!r}')
            if select.select([self.fd], [], [], 0.1)[0]:
                self.shown += os.read(self.fd, 4096).decode(errors='replace')
        return re.search(pattern, self.shown)

    def end(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


first, second = Terminal(), Terminal()
job = 0
try:
    first.type(LOOP + '\n')
    first.type('one\n')
    first.wait('heard one 1')
    job = int(subprocess.check_output(['pgrep', '-P', str(first.pid)]))
    subprocess.run([node, ckpt, 'dump', '-t', str(job), '-D', store, '--json', '--leave-stopped'],
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.kill(job, 9)
    first.wait('Killed|Stopped')
    while os.path.exists(f'/proc/{job}'):
        first.type('\n')
        time.sleep(0.05)
    second.type(f'{node} {ckpt} restore -D {store} --new\n')
    second.wait('lives again')
    second.type('two\n')
    second.wait('heard two 2')
    group = open(f'/proc/{job}/stat').read().rsplit(')', 1)[1].split()
    second.type('\x03')
    second.wait(r'(?s)\^C.*# $')
    second.type('echo status $?\n')
    status = second.wait(r'status (\d+)\r')[1]
    print(json.dumps({'job': job, 'group': int(group[2]), 'foreground': int(group[5]), 'status': int(status)}))
finally:
    first.end()
    second.end()
    if job and os.path.exists(f'/proc/{job}'):
        os.kill(job, 9)
