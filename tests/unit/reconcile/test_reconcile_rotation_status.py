"""A state is read as it was written, and what somebody spoilt does no harm."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api.backend_status import CredentialStatus
from moltbot_operator.rotation.state import Phase, State
from moltbot_operator.rotation.status import read_state, written_state

TIMES = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NAMES = st.none() | st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
STATES = st.builds(
    State,
    phase=st.just(Phase.IDLE),
    version=NAMES,
    pending=NAMES,
    previous=NAMES,
    due=TIMES,
    rotated=TIMES,
    not_after=TIMES,
    retry=TIMES,
    attempts=st.integers(0, 100),
    published=TIMES,
    spare_published=TIMES,
    watched=TIMES,
    until=TIMES,
    sweep=TIMES,
    answered=TIMES,
    urgent=st.booleans(),
    reverted=st.booleans(),
    message=st.text("abc ", max_size=50),
)


@given(STATES)
def test_a_state_is_read_as_it_was_written(state: State) -> None:
    written = written_state(state)
    assert read_state(written) == state
    kept = {key: value for key, value in written.items() if value is not None}
    assert read_state(kept) == state
    CredentialStatus.model_validate(kept)
    known = {field.alias or name for name, field in CredentialStatus.model_fields.items()}
    assert set(written) <= known, "the schema has every member, since the API server drops others"


def test_a_status_that_somebody_edited_is_not_trusted_further_than_it_goes() -> None:
    assert read_state({"phase": "Nonsense", "version": "v1", "nextRotationTime": "soon"}) == State(
        version="v1"
    )
    assert read_state({"phase": "Verified", "version": "v1"}) == State(version="v1")
    assert read_state({"phase": "Overlap"}) == State()


def test_a_time_that_has_none_in_utc_is_written_and_read() -> None:
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        state = State(answered=datetime.fromisoformat(text))
        written = written_state(state)
        assert read_state(written) == state
        CredentialStatus.model_validate({"answeredRotateAt": written["answeredRotateAt"]})
