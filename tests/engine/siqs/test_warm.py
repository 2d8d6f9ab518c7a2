"""Compiled kernels are used only with the very sources that they were made of."""

from pathlib import Path

from factor_worker.engine.siqs import warm


def test_a_changed_source_makes_all_kernels_stale(tmp_path: Path) -> None:
    """Also those of files that did not change: they may call what did."""
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "b.py").write_text("2")
    cache = tmp_path / "__pycache__"

    assert warm.forget_stale(tmp_path)
    (cache / "a.kernel.nbi").touch()
    assert not warm.forget_stale(tmp_path)
    assert (cache / "a.kernel.nbi").exists()
    (tmp_path / "b.py").write_text("3")
    assert warm.forget_stale(tmp_path)
    assert not (cache / "a.kernel.nbi").exists()
