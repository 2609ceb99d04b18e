"""A rank of a run, as a process that tests start: `python tests/ranks.py '{"runs": ..., "id": ...}'`."""

import json
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any


def train(runs: str, sweep: str, id: str, data: str, **wishes: Any) -> str:
    """Train a run in this rank; what became of it, in a word.

    Wishes: micro_batch, evaluation_batch, kernels (chosen for short runs too); stop, fail or die at a step, on `rank`;
    lost: the claim is gone; timeout (s).
    """
    from ablation import data as images
    from ablation import distributed, kernels
    from ablation.run import RunPaths
    from ablation.train import Settings, Stopped, Training

    images.EVALUATION_BATCH = wishes.get("evaluation_batch", images.EVALUATION_BATCH)
    group = distributed.join("cpu", timedelta(seconds=wishes.get("timeout", 60)))
    kernels.FEW_STEPS = 1 if "kernels" in wishes else kernels.FEW_STEPS
    options = {key: wishes[key] for key in ("micro_batch", "kernels") if key in wishes}
    settings = Settings(gpus=0, data_dir=Path(data), **options)
    steps = iter(range(1, 10**9))

    def stop() -> str | None:
        step, chosen = next(steps), group.rank == wishes.get("rank", 0)
        if chosen and step == wishes.get("die"):
            os.kill(os.getpid(), 9)
        if chosen and step == wishes.get("fail"):
            raise ValueError("as the test wished")
        return f"asked on {group.rank}" if chosen and step == wishes.get("stop") else None

    try:
        training = Training(RunPaths(Path(runs), sweep, id), settings, stop, lambda: not wishes.get("lost"), group)
        training.to_the_end()
    except Stopped as stopped:
        return f"stopped at {training.progress.step}: {stopped}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        group.leave()
    return "done"


if __name__ == "__main__":
    warnings.simplefilter("error")
    print(json.dumps(train(**json.loads(sys.argv[1]))), flush=True)
