"""What Lightning and torch say by themselves, and nobody needs to read."""

from __future__ import annotations

import logging
import warnings


def quieten_lightning() -> None:
    """Leave out Lightning's remarks on hardware, and its advice that does not apply here."""
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # That it ends the others when one process has ended, which we say ourselves.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    # Lightning's own call, not ours.
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
    # A thread that reads ahead is faster than loading processes.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
