"""The one exception that a user's mistake becomes: what is wrong, where, what to do."""


class UserError(Exception):
    """A mistake that the user can mend. Commands print it as one plain error and exit with 2.

    `where` is a place such as `sweeps/x.yaml:3:5`; `remedy` says what to do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message, self.where, self.remedy = message, where, remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}" + (f"\n  {self.remedy}" if self.remedy else "")


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def did_you_mean(word: str, choices: list[str]) -> str:
    """A remedy that names the nearest choices, or all of them where none is near."""
    import difflib

    near = difflib.get_close_matches(word, choices, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Choose from: {', '.join(choices)}."
