"""Raw frames (640x360, grey, 25 a second) with the time of their making drawn into them.

The lowest 32 bits of the milliseconds since 1970 are 32 fields of 20x60 pixels at the top, the highest
bit first; a bar that moves keeps the encoder busy below them.
"""
import sys
import time

WIDTH, HEIGHT, RATE, FIELD = 640, 360, 25, 20
began = time.time()
number = 0
while True:
    due = began + number / RATE
    time.sleep(max(0.0, due - time.time()))
    stamp = int(time.time() * 1000) & 0xFFFFFFFF
    row = b"".join(bytes([235 if stamp >> (31 - bit) & 1 else 16]) * FIELD for bit in range(32))
    bar = number * 8 % WIDTH
    below = bytes(200 if bar <= x < bar + 60 else 60 for x in range(WIDTH))
    try:
        sys.stdout.buffer.write(row * 60 + below * (HEIGHT - 60))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        break
    number += 1
