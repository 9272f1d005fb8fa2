"""Runs the official Node SDK (``magic-hour`` on npm) against the simulator and prints how much of it works.

The SDK is installed into a temporary folder with the npm of this machine. Not a part of CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.server import DEFAULT_API_KEY

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "tests" / "data" / "sdk_examples.json"


def install(folder: Path) -> str:
    """Install the newest SDK that npm offers, and return its version."""
    done = subprocess.run(
        ["npm", "install", "--prefix", str(folder), "--no-fund", "--no-audit", "magic-hour"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"npm could not install magic-hour:\n{done.stderr}")
    package = json.loads((folder / "node_modules" / "magic-hour" / "package.json").read_text())
    return str(package["version"])


def run(folder: Path, simulator: Simulator) -> dict[str, Any]:
    """Run the SDK's surface, and return what the script counted."""
    arguments = [str(HERE / "node_sdk.mjs"), str(folder), simulator.url, DEFAULT_API_KEY, str(EXAMPLES)]
    environment = os.environ | {"MAGIC_HOUR_POLL_INTERVAL": "0.001", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(["node", *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit("node_sdk.mjs failed: its error is above.")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Install, run, print; 1 when an answer could not be parsed, a call failed or the counters disagree."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            print(f"This needs {program} on the PATH: install Node.js 20 or newer.", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory(prefix="magic-hour-node-sdk-") as folder, Simulator(speed=1e6) as simulator:
        version = install(Path(folder))
        counts = run(Path(folder), simulator)
        stats = simulator.stats()
    bought, accepted = counts["creates"] + counts["generates"], stats["creates"]["accepted"]
    print(f"magic-hour {version} for Node.js against the simulator")
    print(f"  {counts['calls']} calls: {counts['creates']} create, {counts['generates']} generate, and the rest")
    print(
        f"  {len(counts['parseErrors'])} answers that it could not parse, {len(counts['failures'])} calls that failed"
    )
    print(f"  {accepted} creates accepted by the simulator, {stats['creates']['refused']} refused")
    print(f"  {stats['uploads']} files uploaded, {stats['downloads']} downloaded ({counts['downloads']} say the calls)")
    print(f"  {counts['adapted']} values of the examples replaced by older ones that this SDK demands")
    print(f"  tools that it does not have: {', '.join(counts['newerTools']) or 'none'}")
    print(f"  tools that only it has: {', '.join(counts['unknownTools']) or 'none'}")
    print(*(f"  its own fault: {sentence}\n" for sentence in counts["sdkFaults"]), sep="", end="")
    problems = [*counts["parseErrors"], *counts["failures"]]
    print(*problems, sep="\n", end="\n" if problems else "")
    if bought != accepted:
        print(f"It made {bought} jobs, but the simulator accepted {accepted} creates.", file=sys.stderr)
    return 1 if problems or bought != accepted else 0


if __name__ == "__main__":
    sys.exit(main())
