"""Play the story of a seed, and print it; or tell which seeds find the known faults.

Called as ``PYTHONPATH=tests python -m support.simulation SEED`` or ``… faults``.
"""

from __future__ import annotations

import sys

from support.simulation.faults import ALL, first_seed
from support.simulation.story import SEEDS, Broken, Story


def main(arguments: list[str]) -> int:
    """Print the story; 1 where something that a service promises does not hold."""
    if arguments == ["faults"]:
        for name, fault in ALL.items():
            sys.stdout.write(f'    "{name}": {first_seed(fault, SEEDS)},\n')
        return 0
    story = Story(int(arguments[0]))
    try:
        story.play()
    except Broken as broken:
        sys.stdout.write(f"{broken}\n")
        return 1
    sys.stdout.write(f"{story.text()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
