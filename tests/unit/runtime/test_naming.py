import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.runtime.naming import CLOUD, MEMBER, cloud_prefix, full_name
from appliance.runtime.segment import port_name


@pytest.mark.parametrize("cloud", ["", "a-b", "Dev", "9a", "a" * 13, "../x"])
def test_a_cloud_name_that_could_reach_elsewhere_is_refused(cloud: str) -> None:
    with pytest.raises(ValueError, match="cloud"):
        cloud_prefix(cloud)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a/b", "..", "a" * 41])
def test_a_member_name_that_could_reach_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        full_name("dev", name)


@given(one=st.from_regex(CLOUD, fullmatch=True), other=st.from_regex(CLOUD, fullmatch=True))
def test_no_cloud_has_anothers_members(one: str, other: str) -> None:
    if one != other:
        assert not full_name(one, "r1").startswith(cloud_prefix(other))


@given(owner=st.from_regex(MEMBER, fullmatch=True))
def test_port_names_fit_an_interface(owner: str) -> None:
    assert len(port_name(owner, "02:00:00:00:00:01")) <= 15
    assert port_name(owner, "02:00:00:00:00:01") != port_name(owner, "02:00:00:00:00:02")
