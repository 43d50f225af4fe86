"""
Watches a process on a terminal, changes the terminal's size, and ends the watch.

    watch-terminal.py NODE CKPT TARGET END        END: q, ctrl-c, term

Prints what the terminal showed in each of its sizes, and how it was left, as one JSON document.
"""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

node, ckpt, target, end = sys.argv[1:]


def resize(columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))


def wait(pattern, shown=''):
    """Reads until the pattern is there."""
    deadline = time.time() + 30
    while not re.search(pattern, shown):
        if time.time() > deadline:
            raise SystemExit(f'no {pattern!r} in {shown!r}')
        if select.select([fd], [], [], 0.1)[0]:
            shown += os.read(fd, 65536).decode(errors='replace')
    return shown


# Kept open here, so that the terminal can be looked at when ckpt has left it.
fd, terminal = os.openpty()
resize(80, 24)
before = termios.tcgetattr(fd)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(terminal, stream)
    os.environ.update(TERM='xterm', LANG='C.UTF-8')
    os.environ.pop('LC_ALL', None)
    os.closerange(3, 1024)
    os.execv(node, [node, ckpt, 'watch', '-t', target, '--interval', '200ms'])
small = wait('an interval')
during = termios.tcgetattr(fd)
resize(120, 40)
large = wait(r' {50}q: quit(?s:.*)an interval')
if end == 'term':
    os.kill(pid, signal.SIGTERM)
else:
    os.write(fd, {'q': b'q', 'ctrl-c': b'\x03'}[end])
last = wait(re.escape('\x1b[?25h') + '(?s:.*)distinct')
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({
    'small': small, 'large': large, 'last': last, 'status': status,
    'keysAsTyped': during[3] & termios.ICANON == 0, 'restored': before == termios.tcgetattr(fd),
}))
