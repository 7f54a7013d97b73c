"""Processes that take turns: one runs, all others are stopped."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path


class WorkerFailed(Exception):
    """A worker ended, or gave an unexpected answer. `status` is the exit status of one that ended."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


class Worker:
    """A process that does one run for each line that it is sent.

    While it waits it is stopped (SIGSTOP), so that none of its threads spins during another's turn.
    """

    def __init__(self, name, command, environment):
        self.name = name
        self.seconds = []
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            # A session of its own: a shell that ends hangs up on stopped processes of its session.
            start_new_session=True,
        )
        try:
            self.receive("ready")
        except BaseException:
            self.kill()
            raise
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def proceed(self):
        self.process.send_signal(signal.SIGCONT)

    def receive(self, field):
        line = self.process.stdout.readline()
        try:
            return json.loads(line)[field]
        except (ValueError, KeyError, TypeError):
            status = None if line else self.process.wait()
            found = f"the answer was {line.strip()!r}" if line else f"exit status {status}"
            raise WorkerFailed(
                f"{self.name}: expected a line with `{field}`, but {found}", status
            ) from None

    def run(self):
        self.proceed()
        try:
            self.process.stdin.write("run\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended; receive says how.
        seconds = self.receive("seconds")
        self.stop()
        return seconds

    def reset_peak(self):
        """Resets the peak of its resident memory (proc(5), clear_refs), where the system has one."""
        try:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        except OSError:
            pass

    def peak_bytes(self):
        """The peak of its resident memory since the reset; None where the system does not report it."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else None

    def finish(self):
        """Ends the worker and returns its last output."""
        self.proceed()
        last, _ = self.process.communicate()
        return last

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def take_turns(workers, runs, progress):
    """Runs all workers in turn: one round that is not counted, then `runs` that are."""
    for worker in workers:
        worker.reset_peak()
    for round_number in range(runs + 1):
        for worker in workers:
            seconds = worker.run()
            if round_number > 0:
                worker.seconds.append(seconds)
            progress(round_number, worker.name, seconds)
