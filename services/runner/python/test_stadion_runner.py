"""The runner as a process of its own, outside a container: what it reads, what the script gets, what it tells."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).parent
START = """
import os, sys
sys.path.insert(0, {here!r})
import stadion_runner as runner
runner.SCRIPTS_DIR, runner.CGROUP_DIR, runner.GRACE_AFTER_LIMIT_S = {scripts!r}, {cgroup!r}, 0.1
os._exit(runner.main())
"""
WORD = "f00dfeed"


class RunnerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scripts = pathlib.Path(folder.name, "scripts")
        self.cgroup = pathlib.Path(folder.name, "cgroup")
        tools = pathlib.Path(folder.name, "bin")
        for made in (self.scripts, self.cgroup, tools):
            made.mkdir()
        # The image has a `python`; this machine may have only python3.
        (tools / "python").symlink_to(sys.executable)
        self.path = "%s:/usr/bin:/bin" % tools

    def start(self, source, stdin=None, **options):
        (self.scripts / "index.py").write_text(source)
        code = START.format(here=str(HERE), scripts=str(self.scripts), cgroup=str(self.cgroup))
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": self.path, "HOME": "/home/seatable", "LEAK": "of the starter"}, **options
        )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        # Not SIGKILL: outside a container that would leave its script running.
        process.terminate()
        process.wait(10)
        for stream in (process.stdin, process.stdout, process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def run_script(self, source, env=None, rest=b"", time_limit_s=20, report=None, **options):
        order = {"env": env or {}, "time_limit_s": time_limit_s}
        if report:
            order["report"] = report
        process = self.start(source, **options)
        out, err = process.communicate(json.dumps(order).encode() + b"\n" + rest, timeout=20)
        return process.returncode, out.decode(), err.decode()

    def wait_for(self, what, condition):
        end = time.monotonic() + 10
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain until " + what)
            time.sleep(0.01)


class WaitingTest(RunnerTest):
    def test_end_of_file_instead_of_an_order_ends_it_quietly_and_runs_nothing(self):
        for begun in (b"", b'{"env": {}, "time_limit_s": 5}'):
            process = self.start("open('ran', 'w')")
            out, err = process.communicate(begun, timeout=10)
            self.assertEqual((process.returncode, out, err), (125, b"", b""))
            self.assertFalse((self.scripts / "ran").exists())

    def test_an_order_may_come_in_pieces_and_its_stream_may_stay_open(self):
        process = self.start("print('ran')")
        for piece in (b'{"env": {},', b' "time_limit_s"', b": 5}\n"):
            process.stdin.write(piece)
            process.stdin.flush()
        self.assertEqual(process.stdout.read(), b"ran\n")
        self.assertEqual(process.wait(10), 0)

    def test_an_order_that_makes_no_sense_is_refused_without_quoting_it(self):
        for order in (b"not JSON secret", b"[]", b"{}", b'{"env": "secret", "time_limit_s": 1}',
                      b'{"env": {"secret": 1}, "time_limit_s": 1}', b'{"env": {}, "time_limit_s": "secret"}'):
            process = self.start("open('ran', 'w')")
            out, err = process.communicate(order + b"\n", timeout=10)
            self.assertEqual((process.returncode, out), (125, b""), order)
            self.assertIn(b"does not understand", err)
            self.assertNotIn(b"secret", err)
            self.assertFalse((self.scripts / "ran").exists())

    def test_sigterm_while_it_waits_ends_it(self):
        process = self.start("")
        status = pathlib.Path("/proc/%d/status" % process.pid)
        caught = 1 << signal.SIGTERM - 1
        self.wait_for("it listens", lambda: "SigCgt" in status.read_text() and int(
            status.read_text().split("SigCgt:")[1].split()[0], 16) & caught)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 143)


class ScriptTest(RunnerTest):
    def test_the_script_gets_exactly_its_variables(self):
        env = {"api_token": 's"e\ncret', "empty": "", "odd.name": "ü", "HOME": "/mine", "PYTHONPATH": "/scripts"}
        code, out, err = self.run_script("import os, json; print(json.dumps(dict(os.environ)))", env=env)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(json.loads(out), dict({"PATH": self.path, "LANG": "C.UTF-8"}, **env))

    def test_it_is_index_py_in_the_scripts_folder_and_leads_a_session(self):
        code, out, _ = self.run_script(
            "import os, sys; print(__name__, sys.argv, os.getcwd(), os.getsid(0) == os.getpid())\n"
            "print(open('/proc/self/cmdline').read().split(chr(0))[:-1])")
        self.assertEqual(code, 0)
        self.assertEqual(out, "__main__ ['index.py'] %s True\n['python', '-u', 'index.py']\n" % self.scripts.resolve())

    def test_standard_input_is_the_input_file_or_empty_and_never_the_rest_of_the_order(self):
        source = "import sys; print(repr(sys.stdin.read()))"
        self.assertEqual(self.run_script(source, rest=b"more\n")[1], "''\n")
        (self.scripts / "input").write_text('{"a": 1}')
        self.assertEqual(self.run_script(source, rest=b"more\n")[1], "'{\"a\": 1}'\n")

    def test_no_other_file_is_open(self):
        _, out, _ = self.run_script("import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])", pass_fds=(2,))
        self.assertEqual(out, "['0', '1', '2']\n")

    def test_signals_are_as_for_any_program(self):
        def odd_parent():
            for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGALRM})

        source = "print([l.split() for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))])"
        code, out, _ = self.run_script(source, preexec_fn=odd_parent)
        # What Python itself ignores: SIGPIPE and SIGXFSZ.
        ignored = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
        self.assertEqual((code, out), (0, "[['SigBlk:', '%016x'], ['SigIgn:', '%016x']]\n" % (0, ignored)))

    def test_what_was_printed_without_a_flush_is_out_at_once(self):
        process = self.start("import time; print('up', end=''); time.sleep(60)")
        process.stdin.write(b'{"env": {}, "time_limit_s": 60}\n')
        process.stdin.flush()
        self.assertEqual(os.read(process.stdout.fileno(), 10), b"up")

    def test_a_script_that_cannot_be_started_says_why(self):
        code, out, err = self.run_script("print(1)", env={"big": "x" * 300_000})
        self.assertEqual((code, out), (126, ""))
        self.assertIn("Argument list too long", err)


class EndTest(RunnerTest):
    def test_its_exit_code_is_the_scripts_or_128_and_the_signal(self):
        for source, wanted in (("", 0), ("import sys; sys.exit(3)", 3), ("1/0", 1),
                               ("import os; os.kill(os.getpid(), 15)", 143), ("import os; os.abort()", 134)):
            self.assertEqual(self.run_script(source)[0], wanted, source)

    def test_children_that_the_script_left_are_gone_and_hold_nothing_open(self):
        before = time.monotonic()
        code, out, _ = self.run_script(
            "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint('left')")
        self.assertEqual((code, out), (0, "left\n"))
        self.assertLess(time.monotonic() - before, 10)

    def test_the_last_word_on_standard_error_tells_the_end(self):
        code, _, err = self.run_script("import sys; print('mine', file=sys.stderr); sys.exit(3)", report=WORD)
        self.assertEqual(code, 3)
        said, word, told = err.partition("\0" + WORD)
        self.assertEqual((said, word), ("mine\n", "\0" + WORD))
        self.assertEqual(json.loads(told), {"exit_code": 3, "oom_kills": 0, "pids_refused": 0, "ended_by": "itself"})

    def test_without_a_word_for_it_nothing_is_told(self):
        self.assertEqual(self.run_script("")[2], "")

    def test_what_the_cgroup_counted_since_the_start_is_told(self):
        layouts = {
            "v2": ("memory.events", "low 0\nhigh 0\nmax 9\noom 9\noom_kill %d\noom_group_kill 0\n", "pids.events"),
            "v1": ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill %d\n", "pids/pids.events"),
        }
        for name, (memory, memory_text, pids) in layouts.items():
            with self.subTest(name):
                self.cgroup = self.cgroup / name
                for file, text in ((memory, memory_text % 2), (pids, "max 5\n")):
                    (self.cgroup / file).parent.mkdir(parents=True, exist_ok=True)
                    (self.cgroup / file).write_text(text)
                _, _, err = self.run_script(
                    "open(%r, 'w').write(%r); open(%r, 'w').write('max 12')"
                    % (str(self.cgroup / memory), memory_text % 3, str(self.cgroup / pids)), report=WORD)
                told = json.loads(err.partition(WORD)[2])
                self.assertEqual((told["oom_kills"], told["pids_refused"]), (1, 7))

    def test_a_script_past_its_limit_and_the_grace_is_killed_and_its_output_kept(self):
        code, out, err = self.run_script(
            "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('kept')\nwhile True: pass",
            time_limit_s=0.5, report=WORD)
        self.assertEqual((code, out), (137, "kept\n"))
        self.assertEqual(json.loads(err.partition(WORD)[2])["ended_by"], "time_limit")

    def test_sigterm_ends_the_script_and_says_that_it_came_from_outside(self):
        process = self.start("import time; print('up'); time.sleep(60)")
        process.stdin.write(b'{"env": {}, "time_limit_s": 60, "report": "%s"}\n' % WORD.encode())
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"up\n")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 137)
        self.assertEqual(json.loads(err.partition(WORD.encode())[2])["ended_by"], "signal")

    def test_a_starter_that_no_longer_reads_does_not_keep_it_alive(self):
        process = self.start("import os\nos.set_blocking(2, False)\ntry:\n    while True: os.write(2, bytes(65536))\n"
                             "except BlockingIOError: os.set_blocking(2, True)")
        process.stdin.write(b'{"env": {}, "time_limit_s": 60, "report": "%s"}\n' % WORD.encode())
        process.stdin.close()
        self.assertEqual(process.wait(15), 0)


if __name__ == "__main__":
    unittest.main()
