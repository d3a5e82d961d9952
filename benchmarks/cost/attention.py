"""Attention under rules against plain attention, alone: `uv run benchmarks/cost/attention.py`

Same tensors for all rows of a case, rows take turns. Times are multiples of plain's in the same turn, medians (least
to most):

plain          torch's fused attention (as ComfyUI's attention_pytorch)
4 regions      every pair of regions weighs differently, so that no column can be saved; mass measured too
8 regions      the same with eight
sma            spatially-modulated attention as shipped, four regions, nothing measured
sma + gap      the same, mass measured and the gap computed of it
dense          additive bias [1, heads, N, N], built beforehand
materialised   softmax of the written out matrix, bias added (the published way)
eraser         Attentive Eraser: keys of the hole left out, its queries scaled
sra            EraDiff's self-rectifying attention: the hole's queries do not see its keys
adaeraser      AdaEraser in one block of both its calls (the source's, which keeps its rows of the hole, and the
               picture's, which is compared with them); two of plain are what two calls cost anyway

Token counts are those of 512, 1,024 and 2,048 px on the largest attention of models with this head size. On a CPU,
float32 and two heads; on a GPU, bfloat16, eight heads and two rows. Then the memory that 16 heads take beyond plain's,
as a share of q + k + v. At last whole steps of UNets with SMA on every self-attention, by random models of ComfyUI's
classes (attention_steps.py). The last line names the worst size of 4,096 tokens and above, and the worst UNet.

--write-table measures instead which form is the faster one and renews what the pack chooses by,
mild_core/attention/forms.json, for this kind of device.
"""

import argparse
import json
import math
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.cost import attention_steps
from mild.benchmarks.cost.held import most_held
from mild.benchmarks.shared.machine import machine
from mild.mild_core.attention import choose, dense, presence
from mild.mild_core.attention.columns import of_rows
from mild.mild_core.attention.evaluate import attend, attend_measured
from mild.mild_core.attention.factors import RowRule, factors, row_rule
from mild.mild_core.attention.gap import gap
from mild.mild_core.attention.regions import HOLE, Members, on_grid
from mild.mild_core.attention.rule import attentive_eraser, sma, sra

PIXELS = (512, 1024, 2048)
CELLS = {40: 8, 64: 16, 80: 16, 128: 16}
"""Pixels to a token on the largest attention: SD1.5 (40, 80), SDXL (64), Flux (128)."""
TABLE_HEADS = (40, 64, 80, 128, 160)
TABLE_SIDES = (8, 16, 32, 64)
BIG = 4096
"""Tokens from which on a claim is made."""
LARGEST_MATRIX = {"cpu": 5 * 2**30, "cuda": 40 * 2**30}
"""Bytes of logits that the rows which write them out may take."""


class Case(NamedTuple):
    """What one set of rows works on."""

    q: Tensor  # [B, N, heads * d]
    k: Tensor
    v: Tensor
    heads: int
    side: int  # of the token grid

    @property
    def head(self) -> int:
        return self.q.shape[-1] // self.heads

    @property
    def matrix(self) -> int:
        """Bytes of all logits."""
        return self.q.shape[0] * self.heads * self.side**4 * self.q.element_size()


class Times(NamedTuple):
    """Seconds of one row, turn by turn."""

    runs: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def over(self, other: "Times") -> list[float]:
        """In multiples of another row's, turn by turn: what slows the machine for a while slows both."""
        return [mine / its for mine, its in zip(self.runs, other.runs, strict=True)]

    def against(self, other: "Times") -> str:
        ratios = self.over(other)
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def make_case(head: int, side: int, heads: int, rows: int, device: torch.device) -> Case:
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(rows, side**2, heads * head, generator=generator).to(device, dtype) for _ in range(3))
    return Case(q, k, v, heads, side)


def regions(count: int, side: int, device: torch.device) -> Members:
    """A photo of 512 px with a hole in the middle and people around it, round and soft at their edges."""
    down, across = torch.meshgrid(*(torch.arange(512.0),) * 2, indexing="ij")
    places = [(256.0, 256.0)]
    for n in range(count - 2):
        angle = 2 * math.pi * n / max(count - 2, 1)
        places.append((256 + 150 * math.cos(angle), 256 + 150 * math.sin(angle)))
    discs = [((110 - torch.hypot(across - x, down - y)) / 20).clamp(0, 1) for x, y in places]
    names = [HOLE, *(f"person {n}" for n in range(1, count - 1))]
    made = on_grid(dict(zip(names, discs, strict=True)), (side, side))
    return Members(made.names, made.soft.to(device), made.touched.to(device))


# ------------------------------------------------------------------------------------------------------- the rows


def fused(
    q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None, skip_reshape: bool = False,
    skip_output_reshape: bool = False, scale: float | None = None, **kwargs: Any,
) -> Tensor:  # fmt: skip
    """As ComfyUI's attention_pytorch."""
    if not skip_reshape:
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out if skip_output_reshape else out.transpose(1, 2).flatten(2)


def materialised(case: Case, bias: Callable[[], Tensor]) -> Tensor:
    """Softmax of all logits of a row of the batch at once."""
    q, k, v = (part.unflatten(-1, (case.heads, -1)).transpose(1, 2) for part in case[:3])
    logits = q @ k.transpose(-1, -2) * case.head**-0.5 + bias()
    return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)


def unlike(count: int, side: int, device: torch.device) -> RowRule:
    """Regions of which each avoids each other one by a different amount."""
    members = regions(count, side, device)
    table = 8 * torch.rand(count, count, generator=torch.Generator().manual_seed(0))
    table.fill_diagonal_(0)
    return RowRule(*factors(table, members.soft), measured=members.soft)


def make_rows(case: Case) -> dict[str, Callable[[], Any]]:
    """What takes turns."""
    device, rows = case.q.device, len(case.q)
    members = regions(4, case.side, device)
    rule = row_rule(sma(members.names), members)
    assert rule is not None
    measuring = rule._replace(measured=members.soft)
    eraser = row_rule(attentive_eraser(members.names), members)
    inside = members.soft[:, 1]
    call = (fused, *case[:4])

    def ours(one: RowRule | None) -> Callable[[], Any]:
        return lambda: attend(*call, rows=[one] * rows, form=choose.COLUMNS)

    def with_gap() -> Tensor:
        _, mass = attend_measured(*call, rows=[measuring] * rows, form=choose.COLUMNS)
        assert mass is not None
        return gap(mass, inside, own=(0, 1), foreign=(2, 3))

    hole = members.touched[:, members.names.index(HOLE)].nonzero()[:, 0]

    def compared() -> Tensor:
        split = [part.unflatten(-1, (case.heads, -1)).transpose(1, 2) for part in case[:2]]
        asked = [presence.Rows(q, k, hole, q.shape[-1] ** -0.5) for q, k in zip(*split, strict=True)]
        kept = [presence.source_rows(one) for one in asked]
        fused(*case[:4])
        b = torch.zeros(rows, case.side**2, 1, device=device)
        for bias, source, one in zip(b, kept, asked, strict=True):
            bias[hole, 0] = presence.key_bias(presence.presence(source, one))
        return attend(*call, rows=[RowRule(a=torch.ones_like(bias), b=bias) for bias in b])

    made = {
        "plain": lambda: fused(*case[:4]),
        "4 regions": ours(unlike(4, case.side, device)),
        "8 regions": ours(unlike(8, case.side, device)),
        "sma": ours(rule),
        "sma + gap": with_gap,
        "eraser": ours(eraser),
        "sra": ours(row_rule(sra(members.names), members)),
        "adaeraser": compared,
    }
    if case.matrix * (2 + 1 / rows) < LARGEST_MATRIX[device.type]:
        heads = of_rows([rule], *(part.unflatten(-1, (case.heads, -1)).transpose(1, 2) for part in case[:2]))
        matrix = dense.matrix(heads).to(case.q.dtype).expand(1, case.heads, -1, -1).contiguous()
        made["dense"] = lambda: fused(*case[:4], mask=matrix)
        made["materialised"] = lambda: materialised(case, lambda: matrix)
    return made


# ----------------------------------------------------------------------------------------------------- measuring


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(made: dict[str, Callable[[], Any]], device: torch.device, repeats: int, seconds: float) -> dict[str, Times]:
    """Every row `repeats` times by turns; at least 5 times, and fewer than `repeats` where that took too long."""
    took: dict[str, list[float]] = {name: [] for name in made}
    began = time.perf_counter()
    for turn in range(repeats + 1):
        for name, row in made.items():
            synchronize(device)
            start = time.perf_counter()
            row()
            synchronize(device)
            if turn:  # the first one warms up
                took[name].append(time.perf_counter() - start)
        if turn >= 5 and time.perf_counter() - began > seconds:
            break
    return {name: Times(runs) for name, runs in took.items()}


def print_memory(device: torch.device, sides: list[int]) -> None:
    """Of 16 heads, beyond what plain attention takes itself."""
    for side in sides:
        case = make_case(40, side, 16, 1, device)
        given = sum(part.numel() * part.element_size() for part in case[:3])
        made = make_rows(case)
        plain = most_held(made.pop("plain"), device)
        shares = {name: (most_held(row, device) - plain) / given for name, row in made.items()}
        words = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        print(f"memory beyond plain's, of q + k + v ({given / 2**20:.0f} MiB), d 40, {side**2} tokens: {words}")


# ------------------------------------------------------------------------------------------------------- running


def worst(found: dict[str, dict[str, Times]], name: str, against: str, largest: bool = True) -> str:
    """The ratio of two rows where it is worst, and where that is."""
    ratios = {
        where: statistics.median(times[name].over(times[against]))
        for where, times in found.items()
        if name in times and against in times
    }
    if not ratios:
        return "not measured"
    where = (max if largest else min)(ratios, key=lambda one: ratios[one])
    return f"{ratios[where]:.3f} ({where})"


def compare(device: torch.device, options: argparse.Namespace) -> None:
    heads, rows = (2, 1) if device.type == "cpu" else (8, 2)
    big: dict[str, dict[str, Times]] = {}
    for head in (int(size) for size in options.heads.split(",")):
        for pixels in PIXELS:
            side = pixels // CELLS[head]
            if side**2 > options.most_tokens:
                continue
            case = make_case(head, side, heads, rows, device)
            times = timed(make_rows(case), device, options.repeats, options.seconds)
            plain = times["plain"]
            where = f"d {head}, {side**2} tokens"
            if side**2 >= BIG:
                big[where] = times
            print(f"{where} ({pixels} px), {len(plain.runs)} runs, plain {plain.median * 1e3:.2f} ms")
            print("  " + ", ".join(f"{name} {took.against(plain)}" for name, took in times.items()), flush=True)
    print_memory(device, [64] if device.type == "cpu" else [64, 128, 256])
    print(
        f"sma_over_plain={worst(big, 'sma', 'plain')} eight_over_plain={worst(big, '8 regions', 'plain')} "
        f"dense_over_sma={worst(big, 'dense', 'sma', False)} eraser_over_plain={worst(big, 'eraser', 'plain')}"
    )
    steps = (
        attention_steps.compare(options.steps.split(","), device.type, options.step_repeats) if options.steps else {}
    )
    slowest = max(steps, key=lambda kind: steps[kind]) if steps else None
    print(
        f"step_ratio={f'{steps[slowest]:.3f} ({slowest})' if slowest else 'not measured'} "
        f"sma_over_plain={worst(big, 'sma', 'plain')} "
        f"materialised_over_sma={worst(big, 'materialised', 'sma', False)} "
        f"cag_overhead={worst(big, 'sma + gap', 'sma')}"
    )


def write_table(device: torch.device, options: argparse.Namespace) -> None:
    """Both forms as the engine runs them in block after block, with a memo."""
    path = choose.TABLE
    known = json.loads(path.read_text(encoding="utf-8"))
    batch = (4, 1) if device.type == "cpu" else (8, 2)
    entries = [entry for entry in known["entries"] if entry["device"] != device.type]
    for head in TABLE_HEADS:
        for side in TABLE_SIDES:
            case = make_case(head, side, *batch, device)
            members = regions(4, side, device)
            rule = row_rule(sma(members.names), members)
            memo: dict[Any, Any] = {}
            made = {
                "plain": lambda case=case: fused(*case[:4]),
                **{
                    form: lambda case=case, rule=rule, form=form, memo=memo: attend(
                        fused, *case[:4], rows=[rule] * len(case.q), form=form, memo=memo
                    )
                    for form in (choose.COLUMNS, choose.DENSE)
                },
            }
            times = timed(made, device, options.repeats, options.seconds)
            ratios = {
                form: round(statistics.median(times[form].over(times["plain"])), 3) for form in made if form != "plain"
            }
            entries.append({"device": device.type, "head": head, "tokens": side**2, **ratios})
            print(entries[-1], flush=True)
    machines = {**known.get("machines", {}), device.type: f"{machine(device)}, torch {torch.__version__}"}
    entries.sort(key=lambda entry: (entry["device"], entry["head"], entry["tokens"]))
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    text = f'{{\n "machines": {json.dumps(machines)},\n "entries": [\n{lines}\n ]\n}}\n'
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--heads", default="40,64,80,128", help="head sizes")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120, help="a case that takes longer ends after 5 repeats")
    parser.add_argument("--most-tokens", type=int, help="larger cases are left out (CPU 16384, GPU 65536)")
    parser.add_argument("--steps", default="sd15,sdxl", help="UNets whose whole steps are timed; empty: none")
    parser.add_argument("--step-repeats", type=int, default=10)
    parser.add_argument("--write-table", action="store_true")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(options.device)
    options.most_tokens = options.most_tokens or (16384 if device.type == "cpu" else 65536)
    print(f"{machine(device)}; torch {torch.__version__}")
    with torch.inference_mode():
        (write_table if options.write_table else compare)(device, options)


if __name__ == "__main__":
    main()
