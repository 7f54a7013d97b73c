"""Writes recordings of plucked notes to a folder: music for a vocabulary and an oracle.

    plucked_music.py FOLDER
"""

import sys
import wave
from pathlib import Path

import numpy as np
from pluck import pluck

RATE = 24000
KEYS = [57, 60, 64, 67, 72, 69, 62, 65]


def main():
    folder = Path(sys.argv[1])
    for piece in range(4):
        sound = np.zeros(20 * RATE, np.float32)
        for note in range(48):
            key = KEYS[(note * (piece + 1) + note // 8) % len(KEYS)]
            start, tone = int(note * 0.4 * RATE), pluck(RATE, key)
            sound[start : start + len(tone)] += tone[: len(sound) - start]
        with wave.open(str(folder / f"{piece}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((sound * 32767).astype("<i2").tobytes())


main()
