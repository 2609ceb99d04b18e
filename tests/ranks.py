"""A rank of a run, as a process: `python tests/ranks.py PATHS_JSON OPTIONS_JSON`, started by tests."""

import json
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path


def train(runs, sweep, id, data, micro_batch=None, stop_after=None, stop_rank=0, die_after=None, die_rank=1, **changes):
    """Train a run in this rank; what became of it, in a word."""
    from ablation import distributed
    from ablation.run import RunPaths
    from ablation.train import Settings, Stopped, Training

    group = distributed.join("cpu", timedelta(seconds=changes.get("timeout", 60)))
    steps = iter(range(10**9))

    def stop():
        step = next(steps) + 1
        if die_after and group.rank == die_rank and step >= die_after:
            os.kill(os.getpid(), 9)
        return f"asked on {stop_rank}" if stop_after and group.rank == stop_rank and step >= stop_after else None

    settings = Settings(gpus=0, data_dir=Path(data), micro_batch=micro_batch)
    lost = changes.get("lost")
    try:
        training = Training(RunPaths(Path(runs), sweep, id), settings, stop, lambda: not lost, group)
        training.to_the_end()
    except Stopped:
        return f"stopped at {training.progress.step}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        group.leave()
    return "done"


if __name__ == "__main__":
    warnings.simplefilter("error")
    print(json.dumps(train(**json.loads(sys.argv[1]))), flush=True)
