"""What a launch would start, and what it costs: nothing is started."""

from __future__ import annotations

from ablation.board import Board
from ablation.command import print_json
from ablation.launch.request import Request


def show_plan(request: Request, board: Board, todo: list[str], *, as_json: bool) -> int:
    """Print every run with its cost and state, and for Slurm the job script."""
    costs = {(panel.name, arm.name): arm for panel in request.sweep.panels for arm in panel.arms}
    rows = [
        {
            "id": row.id,
            "panel": row.panel,
            "arm": row.arm,
            "design": costs[row.panel, row.arm].design.name,
            "seed": row.seed,
            "params": costs[row.panel, row.arm].cost.params,
            "macs": costs[row.panel, row.arm].cost.macs,
            "state": row.state,
            "gpu_hours": None,
        }
        for row in board.rows
    ]
    if as_json:
        print_json({"sweep": request.sweep.name, "runs": rows})
        return 0
    from ablation.progress import print_plan

    print_plan(rows, f"{board.line()}; {len(todo)} to start on {request.on}")
    if request.on == "slurm":
        from ablation.launch.slurm import job_script

        print(job_script(request, len(todo)))
    return 0
