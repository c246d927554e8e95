from router_lab import Lab


def test_x(unharmed: Lab) -> None:
    pass
