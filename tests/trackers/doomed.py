"""A training that is killed: puts records without end, and counts them."""

import random
import sys
import time
from pathlib import Path

from tracking import Book, log, set_mood

from lossgap.trackers import outbox as outboxes

outboxes.PUTTING_PATIENCE, outboxes.PUTTING_SHARE = 60.0, 1.0  # however busy the machine is
outboxes.RETRY_SECONDS = outboxes.MOST_RETRY_SECONDS = 0.002

path, mood, seed = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
choose = random.Random(seed)
outbox = outboxes.Outbox(Book(path))
n_before = choose.randrange(5)
for epoch in range(1_000_000):
    if epoch == n_before or (mood == "flickers" and choose.random() < 0.2):
        set_mood(path, choose.choice(["hangs", "fails", "works"]) if mood == "flickers" else mood)
    outbox.put(log(epoch))
    print(epoch + 1, flush=True)  # noqa: T201 - to the test
    time.sleep(choose.random() * 0.004)
