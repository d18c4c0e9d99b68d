"""What every test runs under."""

import os

# As in `voicestack/__main__.py`: set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
