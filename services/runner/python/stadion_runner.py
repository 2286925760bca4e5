"""PID 1 of a runner container: waits for one order, runs one script, tells how it ended, and is gone.

The order is one line of JSON on standard input, and the only way that secrets come in:
  env           object of strings: the script's variables besides PATH, HOME and LANG
  time_limit_s  seconds the script may run; this process ends it 5 seconds later should the starter not have
  report        a word that only the starter knows; with it, the last thing on standard error is
                NUL, that word, and one line of JSON: {"exit_code", "oom_kills", "pids_refused", "ended_by"}
End-of-file instead of an order means that the starter is gone: so is this process, without a word. Runs on Python 3.9 and newer,
with nothing but the standard library.
"""
import json
import os
import select
import signal
import sys
import time

SCRIPTS_DIR = "/scripts"
CGROUP_DIR = "/sys/fs/cgroup"
GRACE_AFTER_LIMIT_S = 5
# Not 0: a script that never ran must not look like one that ended well.
EXIT_WITHOUT_ORDER = 125
MAX_ORDER_BYTES = 16 * 1024 * 1024
# Held back for sigtimedwait, so that none is lost between two looks.
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


def main():
    # An inherited "ignore" would let ended children vanish without a word.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    # PID 1 gets no default action: without these, `docker stop` would take its full grace period.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _: os._exit(128 + caught))
    line = read_line(0)
    if line is None:
        return EXIT_WITHOUT_ORDER
    try:
        order = json.loads(line)
        env = script_environment(order["env"])
        time_limit_s = float(order["time_limit_s"])
        report = order.get("report")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # The type only: the text of the error could quote a secret.
        os.write(2, b"The runner was given an order it does not understand (%s).\n" % type(error).__name__.encode())
        return EXIT_WITHOUT_ORDER

    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    before = limit_counters()
    child = os.fork()
    if child == 0:
        become_script(env)
    let_go_of_stdin()
    exit_code, ended_by = watch(child, time.monotonic() + time_limit_s + GRACE_AFTER_LIMIT_S)
    kill_leftovers(child)
    if report:
        after = limit_counters()
        told = {key: max(0, after[key] - before[key]) for key in after}
        told.update(exit_code=exit_code, ended_by=ended_by)
        write_report(report, told)
    return exit_code


def read_line(fd):
    """The first line as bytes, or None at end-of-file. What follows the line is nobody's."""
    pieces, size = [], 0
    while size <= MAX_ORDER_BYTES:
        piece = os.read(fd, 65536)
        if not piece:
            return None
        head, newline, _ = piece.partition(b"\n")
        pieces.append(head)
        size += len(head)
        if newline:
            return b"".join(pieces)
    return None


def script_environment(given):
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/home/seatable"),
        "LANG": "C.UTF-8",
    }
    for name, value in given.items():
        if not isinstance(value, str):
            raise TypeError(name)
        env[name] = value
    return env


def become_script(env):
    """In the child: never returns."""
    try:
        os.setsid()
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    pass  # reserved by the C library
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        prefer_as_oom_victim()
        os.chdir(SCRIPTS_DIR)
        try:
            stdin = os.open("input", os.O_RDONLY)
        except FileNotFoundError:
            stdin = os.open(os.devnull, os.O_RDONLY)
        os.dup2(stdin, 0)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        # -u: what was printed before a kill must be kept, and no variable may show that the script doesn't know.
        # Looked up in this process's PATH: the script's own PATH doesn't choose its interpreter.
        os.execve(find_python(), ["python", "-u", "index.py"], env)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must see an end
        os.write(2, ("The script could not be started: %s\n" % type_and_reason(error)).encode())
    finally:
        os._exit(126)


def find_python():
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, "python")
        if os.access(path, os.X_OK):
            return path
    return sys.executable


def type_and_reason(error):
    return "%s: %s" % (type(error).__name__, getattr(error, "strerror", None) or "unexpected")


def prefer_as_oom_victim():
    """Out of memory shall end the script, not the process that tells about it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def let_go_of_stdin():
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def watch(child, deadline):
    """Reaps whatever ends until the script has: its exit code, and who ended it."""
    ended_by = "itself"
    while True:
        exit_code = reap(child)
        if exit_code is not None:
            return exit_code, ended_by
        caught = signal.sigtimedwait(WATCHED, max(0, deadline - time.monotonic()))
        if caught is None or caught.si_signo != signal.SIGCHLD:
            ended_by = "time_limit" if caught is None else "signal"
            deadline = time.monotonic() + 1
            kill_all(child)


def reap(child):
    """Takes in every ended process; the exit code if the script is among them."""
    exit_code = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                exit_code = code if code >= 0 else 128 - code
    except ChildProcessError:
        pass
    return exit_code


def kill_all(child):
    # Only PID 1 of a container may kill "all": anywhere else that would be the machine.
    try:
        if os.getpid() == 1:
            os.kill(-1, signal.SIGKILL)
        else:
            os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def kill_leftovers(child):
    """Nothing may write after the report; a process that can't die within a second dies with this one."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        kill_all(child)
        reap(child)
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        signal.sigtimedwait({signal.SIGCHLD}, 0.02)


def limit_counters():
    """How often this container's own memory and process limits bit, on cgroup v1 or v2; 0 where nothing tells."""
    return {
        "oom_kills": first_counter("oom_kill", "memory.events", "memory/memory.oom_control"),
        "pids_refused": first_counter("max", "pids.events", "pids/pids.events"),
    }


def first_counter(key, *names):
    for name in names:
        try:
            with open(os.path.join(CGROUP_DIR, name)) as file:
                for line in file:
                    field, _, value = line.partition(" ")
                    if field == key:
                        return int(value)
        except (OSError, ValueError):
            pass
    return 0


def write_report(word, told):
    """Bounded, unlike a plain write: a starter that no longer reads must not keep this process alive."""
    data = b"\0" + word.encode() + json.dumps(told).encode() + b"\n"
    os.set_blocking(2, False)
    deadline = time.monotonic() + 5
    while data and time.monotonic() < deadline:
        try:
            data = data[os.write(2, data):]
        except BlockingIOError:
            select.select([], [2], [], 0.1)
        except OSError:
            return


if __name__ == "__main__":
    status = main()
    # Not sys.exit: nothing is left to tidy, and the container ends a little sooner.
    os._exit(status)
