from tests.unit.router.refused import Case

CASES: list[Case] = [
    (
        {"helpers": {"pptp": {"ports": [1723, 2121]}}},
        "/helpers/pptp/ports",
        "port 2121/tcp have that of ftp already",
    ),
]
