"""Turns results into docs/benchmarks.md."""
import statistics

from rows import CROSS, REFERENCE, WEND

# How far behind a median may be until it counts as slower, when the samples overlap.
TOLERANCE = 0.03

HEAD = """# Benchmarks

Wend beside the Python reference implementation ({reference}), as `benches/compare/run` measured them: on the same bytes, over
TCP on loopback, in turns. This file and `benchmarks.json` with every sample are written by it.

{machine}. Each figure is the median of its samples, with the smallest and the largest behind it. A ratio is Wend's median by
the reference's. Processor time is that of all processes measured, for each operation or, of resources, for each gigabyte; it
depends less than time on what else the machine does.
"""

ENDPOINTS = """
Endpoints are programs of a few hundred lines on either implementation ([benches/endpoint](../benches/endpoint),
[reference_endpoint.py](../benches/compare/reference_endpoint.py)); nothing is compressed but text. Over so fast a link
Wend leaves text as it is unless it is told to compress, as it is in the row where both sides do. A relay is a transport node
of the same implementation. Announces are taken in by nodes whose limits on announces are off, on both sides; the time ends
when the last one leads somewhere, processor time when the last one was sent on.
"""


def number(value, digits):
    return f"{value:,.{digits}f}"


def spread(values, digits):
    if not values:
        return "–"
    middle, low, high = statistics.median(values), min(values), max(values)
    if len(values) == 1:
        return number(middle, digits)
    return f"{number(middle, digits)} ({number(low, digits)} – {number(high, digits)})"


def values(result, variant, key):
    return [sample[key] for sample in result["samples"].get(variant, []) if sample.get(key) is not None]


def ratio_text(ratio):
    return f"1/{number(1 / ratio, 1)}" if ratio < 1 else number(ratio, 1)


def target(figure):
    if figure.ratio is not None:
        sign = "≤" if figure.ratio < 1 else "≥"
        return f"{sign} {ratio_text(figure.ratio)}"
    return f"≤ {figure.most:g} {figure.unit}"


def reached(figure, ours, ratio):
    if figure.ratio is None:
        return ours <= figure.most
    if ratio is None:
        return None
    return ratio <= figure.ratio if figure.less_is_better else ratio >= figure.ratio


def line(row, figure, result, first):
    theirs, ours = (values(result, variant, figure.key) for variant in (REFERENCE, WEND))
    ratio = statistics.median(ours) / statistics.median(theirs) if ours and theirs and statistics.median(theirs) else None
    verdict = {True: "yes", False: "**no**", None: "–"}[reached(figure, statistics.median(ours), ratio) if ours else None]
    cpu = "–"
    if row.cpu and first and not figure.key.startswith("cpu"):
        key, unit = row.cpu
        both = [values(result, variant, key) for variant in (REFERENCE, WEND)]
        cpu = " / ".join(f"{statistics.median(used):,.3g}" if used else "–" for used in both) + f" {unit}"
    return [figure.title, f"{spread(theirs, figure.digits)} {figure.unit}", f"{spread(ours, figure.digits)} {figure.unit}",
            ratio_text(ratio) if ratio else "–", target(figure), verdict, cpu]


def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for cells in lines:
        yield "| " + " | ".join(cells) + " |"


def is_slower(ours, theirs, less_is_better):
    """Whether samples are behind others by more than one run differs from the next."""
    if less_is_better:
        ours, theirs = [-value for value in ours], [-value for value in theirs]
    middle, apart = statistics.median(theirs), max(ours) < min(theirs)
    return apart or statistics.median(ours) < middle - abs(middle) * TOLERANCE


def cross_line(row, figure, result):
    both = values(result, REFERENCE, figure.key)
    cells, slower = [figure.title, f"{spread(both, figure.digits)} {figure.unit}"], []
    for variant in CROSS:
        mixed = values(result, variant, figure.key)
        if not mixed or not both:
            cells.append("–")
            continue
        ratio = statistics.median(mixed) / statistics.median(both)
        slower.append(is_slower(mixed, both, figure.less_is_better))
        failed = sum(values(result, variant, "failed"))
        cells.append(f"{spread(mixed, figure.digits)} ({ratio_text(ratio)})" + (f", {failed:g} failed" if failed else ""))
    cells.append("–" if not slower else "**no**" if any(slower) else "yes")
    return cells


def notes(row, result):
    for variant, error in result["errors"].items():
        yield f"- {row.name}, {variant}: could not be measured ({error.splitlines()[0][:200]})"
    for variant in (REFERENCE, WEND):
        failed = sum(values(result, variant, "failed"))
        if failed:
            yield f"- {row.name}, {variant}: {failed:g} operations of all samples failed"
        for key, meaning in (("known", "announced destinations were known"), ("rebroadcast", "announces were sent on")):
            shares = values(result, variant, key)
            if shares and min(shares) < 1:
                yield f"- {row.name}, {variant}: at least {min(shares):.1%} of {meaning}"


def render(listed, results):
    """The document."""
    box = results["machine"]
    told = f"{box['processor']}, {box['cores']} cores, {box['memory_gib']} GiB, {box['system']}"
    done = [(row, results["rows"][row.name]) for row in listed if row.name in results["rows"]]
    out = [HEAD.format(reference=results["reference"], machine=told)]
    main = [line(row, figure, result, index == 0) for row, result in done for index, figure in enumerate(row.figures)]
    head = ["Work", "Reference", "Wend", "Ratio", "To reach", "Reached", "Processor time, reference / Wend"]
    out.append("\n".join(table(head, main)))
    out.append(ENDPOINTS)
    crossed = [cross_line(row, figure, result) for row, result in done if row.is_cross for figure in row.figures]
    if crossed:
        out.append("## With the reference at one end\n\nNo row may be slower than between two of the reference. In brackets the "
                   "ratio to that. Not slower is a median at most "
                   f"{TOLERANCE:.0%} behind, if the samples overlap: one run differs more from the next.\n")
        head = ["Work", "Both the reference", "Wend to the reference", "The reference to Wend", "Not slower"]
        out.append("\n".join(table(head, crossed)))
        out.append("")
    told = [note for row, result in done for note in notes(row, result)]
    if told:
        out.append("## What to know\n\n" + "\n".join(told) + "\n")
    out.append("## When\n")
    when = [[row.name, result["date"], f"`{result['commit']}`", f"{result['busy_before']:.0%}"] for row, result in done]
    out.append("\n".join(table(["Row", "Measured (UTC)", "Tree", "Machine busy before"], when)))
    return "\n".join(out) + "\n"
