"""What a kernel could load, told from its own indexes."""

from pathlib import Path

from appliance.agent import capability


def test_modules_are_known_however_they_are_packed(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "kernel/drivers/net/wireguard/wireguard.ko: kernel/lib/crypto/libchacha.ko\n"
        "kernel/arch/x86/crypto/aesni-intel.ko.xz:\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/crypto/seqiv.ko\n")
    assert capability.loadable(tmp_path) == {"wireguard", "aesni_intel", "seqiv"}


def test_a_kernel_of_somebody_else_has_none(tmp_path: Path) -> None:
    """As in a container: there only trying tells."""
    assert capability.loadable(tmp_path / "none") == set()
