"""The examples of the search's README are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import latency_model.network_latency
from search.spaces.registry import load_space

README = (Path(__file__).resolve().parents[2] / "search" / "README.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return found


class ThreeByThreeIsFast:
    """Stands for a predictor: kernel 3 takes 0.01 ms, kernel 5 takes 0.03 ms."""

    def op_contribution_ms(self, ops):
        return np.array([0.01 if op.kernel_size == 3 else 0.03 for op in ops])


def test_the_space_file_has_twelve_lines_and_is_read(tmp_path):
    text = block("yaml")
    (tmp_path / "mine.yaml").write_text(text)
    assert len(text.splitlines()) <= 12
    assert load_space(str(tmp_path / "mine.yaml"), (3, 32, 32), 10).network_count() == 7**4 * 6**2


def test_somebody_elses_gumbel_search_meets_its_target(monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    monkeypatch.setattr(latency_model.network_latency, "load_network_latency", lambda folder: ThreeByThreeIsFast())
    exec(compile(block("python"), "README", "exec"), {})
    derived_ms = float(re.search(r"derived ([\d.]+) ms", capsys.readouterr().out).group(1))
    assert derived_ms <= 0.051
