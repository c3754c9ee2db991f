"""What a report says of the machine and the software that its figures come from."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def facts(command: str) -> dict[str, str]:
    """Processor, versions, date, command."""
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "hyena": version("hyena"),
        "date": date.today().isoformat(),
        "command": command,
    }


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return f"{names[0]}, {len(names)} cores"
    return platform.processor() or platform.machine()


def sentence(values: dict[str, str]) -> str:
    """The facts as the line under a report's title."""
    return (
        f"{values['processor']}; PyTorch {values['torch']}, Python {values['python']}, hyena {values['hyena']}; "
        f"{values['date']}; `{values['command']}`."
    )


def threads(count: int) -> str:
    """1 thread, 2 threads."""
    return f"{count} thread{'' if count == 1 else 's'}"


def load() -> float | None:
    """Programs that computed at once on the average of the last minute, None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def busy() -> str | None:
    """A warning where others compute on this machine: times are then not to be trusted."""
    now, cores = load(), os.cpu_count() or 1
    if now is None or now <= cores / 4:
        return None
    return f"other programs were computing: the load was {now:.2f} on {cores} cores, so times are longer and less certain"


def available_bytes() -> int | None:
    """Memory that a program could still get, None where the system does not tell."""
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
