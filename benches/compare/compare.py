"""Runs what rows.py lists, the implementations in turns, and writes docs/benchmarks.md and docs/benchmarks.json."""
import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import traceback

import machine
import render
from endpoints import Net
from processes import Programs
from rows import rows
from transport import Fed

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def arguments():
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=__doc__)
    parser.add_argument("--only", metavar="ROW,...", help="measure these rows only; see --list")
    parser.add_argument("--runs", type=int, help="samples of each variant, at most as many as a row has")
    parser.add_argument("--quick", action="store_true", help="one sample of each")
    parser.add_argument("--out", metavar="DIR", default=os.path.join(ROOT, "docs"), help="where the results go")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--reference", help=argparse.SUPPRESS)
    parser.add_argument("--programs", help=argparse.SUPPRESS)
    return parser.parse_args()


class Stage:
    """What rows are measured on. The newest of each kind stays up for the next row."""

    def __init__(self, programs):
        self.programs, self._on, self._up = programs, None, {}

    def get(self, row, variant):
        if row.on == "kind":
            self.clear()
            return variant
        if row.on != self._on:
            self.clear()
            self._on = row.on
        if variant not in self._up:
            fed = row.on == "fed"
            made = Fed(self.programs, variant) if fed else Net(self.programs, variant, relay=row.on == "relay")
            self._up[variant] = made
        return self._up[variant]

    def drop(self, variant):
        up = self._up.pop(variant, None)
        if up is not None:
            up.close()

    def clear(self):
        for variant in list(self._up):
            self.drop(variant)


def measure(row, stage, runs):
    """Samples of each variant, taken in turns; what fails is said and left out."""
    samples = {variant: [] for variant in row.variants}
    errors = {}
    for number in range(runs):
        # Every other time backwards, so that none always comes after the same other.
        for variant in row.variants[::1 if number % 2 == 0 else -1]:
            if variant in errors:
                continue
            try:
                sample = row.measure(stage.get(row, variant))
            except Exception as error:
                traceback.print_exc(limit=3)
                errors[variant] = str(error)
                stage.drop(variant)
                continue
            samples[variant].append(sample)
            shown = ", ".join(f"{key} {value:.6g}" for key, value in sample.items() if value is not None)
            print(f"  {row.name} {number + 1}/{runs} {variant}: {shown}", flush=True)
    return {"samples": samples, "errors": errors}


def commit():
    def git(*command):
        return subprocess.run(["git", "-C", ROOT, *command], capture_output=True, text=True, check=False).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def main():
    chosen = arguments()
    if chosen.list:
        print("\n".join(row.name for row in rows(Programs(None, None, "/nowhere"))))
        return 0
    stored = os.path.join(chosen.out, "benchmarks.json")
    results = {"rows": {}}
    if os.path.exists(stored):
        with open(stored) as file:
            results = json.load(file)
    with tempfile.TemporaryDirectory(prefix="wend-compare-") as scratch:
        programs = Programs(chosen.reference, chosen.programs, scratch)
        listed = rows(programs)
        names = chosen.only.split(",") if chosen.only else [row.name for row in listed]
        unknown = set(names) - {row.name for row in listed}
        if unknown:
            print(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in listed)}")
            return 2
        stage, failed = Stage(programs), False
        try:
            for row in (row for row in listed if row.name in names):
                print(f"{row.name}", flush=True)
                busy = machine.busy()
                result = measure(row, stage, 1 if chosen.quick else min(chosen.runs or row.runs, row.runs))
                failed = failed or bool(result["errors"])
                when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
                results["rows"][row.name] = {**result, "date": when, "commit": commit(), "busy_before": busy}
                results["machine"] = machine.describe()
                results["reference"] = version(programs)
                os.makedirs(chosen.out, exist_ok=True)
                with open(stored, "w") as file:
                    json.dump(results, file, indent=1, sort_keys=True)
                    file.write("\n")
        finally:
            stage.clear()
        text = render.render(listed, results)
        with open(os.path.join(chosen.out, "benchmarks.md"), "w") as file:
            file.write(text)
    print(text)
    return 1 if failed else 0


def version(programs):
    asked = [programs.reference, "-c", "import importlib.metadata as m; print('rns', m.version('rns'))"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


sys.exit(main())
