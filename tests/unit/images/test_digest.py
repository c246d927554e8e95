from pathlib import Path

from images import digest


def test_boundaries_between_texts_count() -> None:
    assert digest.of_text("ab", "c") != digest.of_text("a", "bc")


def test_a_tree_changes_with_content_mode_link_and_name(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    seen = [digest.of_trees([tree])]

    def changed() -> bool:
        seen.append(digest.of_trees([tree]))
        return seen[-1] not in seen[:-1]

    (tree / "a").write_text("1")
    assert changed()
    (tree / "a").write_text("2")
    assert changed()
    (tree / "a").chmod(0o755)
    assert changed()
    (tree / "link").symlink_to("a")
    assert changed()
    (tree / "link").unlink()
    (tree / "link").symlink_to("b")
    assert changed()
    (tree / "a").rename(tree / "c")
    assert changed()


def test_what_doesnt_reach_the_image_doesnt_count(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.py").write_text("1")
    before = digest.of_trees([tmp_path / "tree"])
    (tmp_path / "tree/__pycache__").mkdir()
    (tmp_path / "tree/__pycache__/a.cpython-313.pyc").write_text("compiled")
    (tmp_path / "tree/a.py").chmod(0o600)
    assert digest.of_trees([tmp_path / "tree"]) == before
