"""How much memory a script keeps before it collects garbage."""

from importlib.resources import files

import lupa.luajit21
import pytest

SPARE = 4096
"""KiB, as the script has it."""


@pytest.fixture
def lua():
    """LuaJIT, as in Envoy, with the script's part and a function that makes garbage of so many KiB."""
    runtime = lupa.luajit21.LuaRuntime(register_eval=False, register_builtins=False)
    part = files("moltbot_operator.compile").joinpath("lua", "garbage.lua").read_text("utf-8")
    made = "function request(size) spare_the_collector() local text = string.rep('x', size * 1024 + made) "
    made += "made = made + 1 spare_the_collector() return #text end made = 0 kept = {}"
    runtime.execute(part + made)
    return runtime


def used(lua):
    return lua.eval("collectgarbage('count')")


@pytest.mark.parametrize("size", [1, 16, 512])
def test_memory_is_bounded_however_many_requests_come(lua, size):
    most = 0
    for _ in range(100_000 // size):
        lua.globals().request(size)
        most = max(most, used(lua))
    assert SPARE < most < 3 * SPARE + 4 * size


def test_nothing_is_collected_while_there_is_little(lua):
    before = used(lua)
    for _ in range(100):
        lua.globals().request(16)
    assert used(lua) - before > 100 * 16


def test_long_bodies_are_collected_as_without_it(lua):
    """Sixteen requests at a time with 2 MiB each: what the last ones left is soon gone."""
    most = 0
    for _ in range(200):
        lua.execute("kept[made % 16] = string.rep('y', 2097152 + made)")
        lua.globals().request(2048)
        most = max(most, used(lua))
    alive = 16 * 2048
    assert alive < most < 4 * alive
