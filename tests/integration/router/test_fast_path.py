"""The fast path where the kernel has it, and its absence where it hasn't: the router works alike."""

from router_document import document
from router_lab import Lab


def test_a_kernel_without_flowtables_is_no_reason_to_fail(lab: Lab) -> None:
    able = lab.status()["capabilities"]["flowtable"]
    for wanted in (True, False, True):
        lab.put({**document(), "fast_path": wanted})
        assert lab.drift() == []
        tables = lab.run("nft", "list", "ruleset")
        assert ("jump fast_path" in tables) is wanted
        assert ("flow add @fast" in tables) is (wanted and able)
        assert ("table netdev" in tables) is able
        assert lab.works()
