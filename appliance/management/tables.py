"""The database's tables, and how to open it: SQLite embedded, or any other by its SQLAlchemy URL."""

from sqlalchemy import BigInteger, Engine, ForeignKey, Index, Integer, UniqueConstraint, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite numbers rows by themselves only in a column whose type is exactly INTEGER.
_RowId = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger()}


class ApplianceRow(Base):
    __tablename__ = "appliances"
    __table_args__ = (Index("appliances_next_try", "next_try"),)

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    control_mac: Mapped[str]
    control_address: Mapped[str]
    control_gateway: Mapped[str | None]
    port: Mapped[int]
    created: Mapped[float]
    certificate_expires: Mapped[float | None]
    wanted_generation: Mapped[int] = mapped_column(default=0)
    wanted_digest: Mapped[str | None]
    state: Mapped[str]
    problems: Mapped[str | None]
    reported_generation: Mapped[int | None]
    reported_digest: Mapped[str | None]
    last_error: Mapped[str | None]
    last_contact: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    next_try: Mapped[float]


class DocumentRow(Base):
    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("appliance_id", "generation"),)

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    appliance_id: Mapped[int] = mapped_column(ForeignKey("appliances.id", ondelete="CASCADE"))
    generation: Mapped[int]
    text: Mapped[str]
    digest: Mapped[str]
    created: Mapped[float]


class PlacementRow(Base):
    __tablename__ = "placements"

    appliance_id: Mapped[int] = mapped_column(
        ForeignKey("appliances.id", ondelete="CASCADE"), primary_key=True
    )
    text: Mapped[str]


class UsageRow(Base):
    __tablename__ = "usage"

    appliance_id: Mapped[int] = mapped_column(
        ForeignKey("appliances.id", ondelete="CASCADE"), primary_key=True
    )
    text: Mapped[str]


def open_database(url: str) -> Engine:
    """An engine with the tables in place. Raises sqlalchemy.exc.SQLAlchemyError."""
    sqlite = make_url(url).get_backend_name() == "sqlite"
    if sqlite:
        # A writer waits for another one for up to half a minute (seconds, sqlite3_busy_timeout).
        engine = create_engine(url, connect_args={"timeout": 30}, pool_size=8, max_overflow=24)
        event.listen(engine, "connect", _set_up_sqlite)
    else:
        engine = create_engine(url, pool_pre_ping=True)
    Base.metadata.create_all(engine)
    return engine


def _set_up_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # WAL lets readers go on while one writes; FULL, because a document that was accepted must be there
    # after a power cut.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
