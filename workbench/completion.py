"""Shell completion of commands, experiments, groups, keys and run folders."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from workbench.compose import compose_experiment, experiments, groups, options
from workbench.core.config import ConfigError, nearest

COMMANDS = ("list", "show", "resume", "report", "epsilon", "doctor", "completion")

BASH = """\
_workbench_complete() {
    local words="${COMP_LINE:0:$COMP_POINT}"
    local current="${words##* }"
    COMPREPLY=($(workbench _complete $words "|$current" 2>/dev/null))
    # A candidate that ends in = or . wants to be gone on with.
    case "${COMPREPLY[0]}" in *=|*.) compopt -o nospace ;; esac
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o default -F _workbench_complete workbench\
"""

SHELLS = {"bash": BASH, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + BASH}


def script(shell: str) -> str:
    """What a shell evaluates to complete `workbench`: eval "$(workbench completion bash)".

    Raises:
      ConfigError: for another shell.
    """
    if shell not in SHELLS:
        raise ConfigError(f"no completion for {shell}{nearest(shell, SHELLS)}")
    return SHELLS[shell]


def candidates(line: Sequence[str]) -> list[str]:
    """Completions of the last word of a command line.

    Args:
      line: the words so far, `workbench` first; then "|" and the word to complete, maybe empty.
    """
    *words, current = line
    current = current.removeprefix("|")
    before = words[1:-1] if current else words[1:]
    return sorted({c for c in _choices(before, current) if c.startswith(current)})


def _choices(before: Sequence[str], current: str) -> Iterable[str]:
    if before and before[0] == "list":
        return {name.split("/")[0] for name in experiments()}
    if before and before[0] == "resume":
        return [str(path.parent) for path in Path("runs").glob("**/manifest.json")]
    if before and before[0] in ("report", "doctor", "completion"):
        return ["bash", "zsh"] if before[0] == "completion" else []
    if before and before[0] == "epsilon" and "experiment=" not in " ".join([*before, current]):
        from workbench.privacy.calculator import KEYS  # which takes more than completing does

        return [*(f"{key}=" for key in KEYS), "experiment="]
    commands = COMMANDS if not before else ()
    group, equals, _ = current.partition("=")
    if group == "sweep.dir":
        return [f"{group}={path.parent}" for path in Path("runs").glob("**/sweep.json")]
    if equals:
        return [f"{group}={option}" for option in options(group)]
    return [*commands, *(f"{name}=" for name in groups()), *_keys(before, current)]


def _keys(before: Sequence[str], current: str) -> list[str]:
    """The keys of what the line composes so far, one level at a time."""
    try:
        node = compose_experiment([word for word in before if "=" in word])
    except ConfigError:
        return []
    *path, _ = current.split(".")
    for name in path:
        child = node.get(name) if isinstance(node, DictConfig) else None
        if not isinstance(child, DictConfig):
            return []
        node = child
    prefix = "".join(f"{name}." for name in path)
    return [
        f"{prefix}{key}"
        + ("." if isinstance(node._get_node(key), DictConfig) and node[key] else "=")
        for key in map(str, node)
    ]
