"""A JACK client that plays plucked notes into the input of a session and records the MIDI that it sends.

Prints the time from each attack, in samples of the server, to the note that answers it. Exits 1 if fewer than half of the
attacks are answered, or a note that starts does not end.
"""

import sys
import time

import jack
import numpy as np
from pluck import pluck

ATTACKS = 12
SPACING = 0.7
LEAD = 2.0


def find(client, pattern, **kind):
    for _ in range(600):
        ports = client.get_ports(pattern, **kind)
        if ports:
            return ports[0]
        time.sleep(0.1)
    sys.exit(f"no port {pattern}: there are {[port.name for port in client.get_ports()]}")


def main():
    client = jack.Client("player", no_start_server=True)
    rate, period = client.samplerate, client.blocksize
    keys = [57, 60, 64, 67, 72, 69]
    sound = np.zeros(int((LEAD + ATTACKS * SPACING + 2) * rate), np.float32)
    attacks = [int((LEAD + n * SPACING) * rate) for n in range(ATTACKS)]
    for n, start in enumerate(attacks):
        note = pluck(rate, keys[n % len(keys)])
        sound[start : start + len(note)] += note
    out = client.outports.register("sound")
    midi = client.midi_inports.register("notes")
    state = {"at": 0, "run": False}
    received = []

    @client.set_process_callback
    def process(frames):
        buffer = out.get_array()
        buffer[:] = 0
        at = state["at"]
        for offset, data in midi.incoming_midi_events():
            received.append((at + offset, bytes(data)))
        if state["run"]:
            part = sound[at : at + frames]
            buffer[: len(part)] = part
            state["at"] = at + frames

    with client:
        # The session is another client: its input takes sound, its output gives MIDI.
        source = find(client, "mert-tokens.*out", is_midi=True, is_output=True)
        others = [
            port
            for port in client.get_ports(is_audio=True, is_input=True)
            if not port.name.startswith(("system:", "player:"))
        ]
        if not others:
            sys.exit(f"the session has no input: there are {[port.name for port in client.get_ports()]}")
        client.connect(source, midi)
        for port in others:
            client.connect(out, port)
        state["run"] = True
        while state["at"] < len(sound):
            time.sleep(0.1)
    starts = [(at, data) for at, data in received if data[0] & 0xF0 == 0x90 and data[2] > 0]
    sounding = set()
    for _, data in received:
        if data[0] & 0xF0 == 0x90 and data[2] > 0:
            sounding.add(data[1])
        elif data[0] & 0xF0 in (0x80, 0x90):
            sounding.discard(data[1])
    latencies = []
    for attack in attacks:
        after = [at - attack for at, _ in starts if 0 <= at - attack < SPACING * rate / 2]
        latencies += [min(after) / rate * 1e3] if after else []
    print(f"{ATTACKS} attacks, {len(latencies)} answered, {len(starts)} notes, {len(sounding)} left sounding")
    if latencies:
        latencies.sort()
        print(
            f"from the attack to the note in JACK's frames: median {latencies[len(latencies) // 2]:.1f} ms, "
            f"worst {latencies[-1]:.1f} ms (a period is {period / rate * 1e3:.1f} ms)"
        )
    if len(latencies) * 2 < ATTACKS or sounding:
        sys.exit("expected an answer to at least half of the attacks, and an end of every note")


main()
