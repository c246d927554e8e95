from tests.unit.router.refused import Case

CASES: list[Case] = [
    (
        {"alg": {"pptp": {"ports": [1723, 2121]}}},
        "/alg/pptp/ports",
        "port 2121/tcp have that of ftp already",
    ),
]
