"""What a launch would start, and what it costs: nothing is started."""

from __future__ import annotations

from typing import Any

from ablation.board import Board
from ablation.command import print_json
from ablation.launch.request import Request
from ablation.price import Price


def show_plan(request: Request, board: Board, price: Price, *, as_json: bool) -> int:
    """Print every run with its cost and state, the price of those to start, and for Slurm the job script."""
    rows = plan_rows(request, board, price)
    if as_json:
        print_json({"sweep": request.sweep.name, "runs": rows, "price": price.to_json()})
        return 0
    from ablation.price import print_price
    from ablation.progress import print_plan

    print_plan(rows, f"{board.line()}; {len(price.runs)} to start on {request.on}")
    if price.runs:
        print_price(price)
    if request.on == "slurm":
        from ablation.launch.slurm import job_script

        print(job_script(request, len(price.runs)))
    return 0


def plan_rows(request: Request, board: Board, price: Price) -> list[dict[str, Any]]:
    """A row a run; GPU-hours of those that would start, where they are known."""
    every = [(panel.name, arm) for panel in request.sweep.panels for arm in panel.arms]
    arms = {(panel, arm.name): (arm.design.name, arm.cost) for panel, arm in every}  # a name takes longer than a row
    return [
        {
            "id": row.id,
            "panel": row.panel,
            "arm": row.arm,
            "design": name,
            "seed": row.seed,
            "params": cost.params,
            "macs": cost.macs,
            "state": row.state,
            "gpu_hours": price.runs.get(row.id),
        }
        for row in board.rows
        for name, cost in [arms[row.panel, row.arm]]
    ]
