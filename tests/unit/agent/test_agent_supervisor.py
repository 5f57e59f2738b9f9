"""The agent's container goes on when the agent dies or hangs."""

import asyncio
import os
import signal
import sys
from datetime import timedelta

import pytest
from agent_environment import ENVIRONMENT

RUN = """
import signal, sys
from datetime import timedelta
from moltbot_agent import supervisor
supervisor.SETTLED = timedelta(seconds={settled})
signal.pthread_sigmask(signal.SIG_BLOCK, supervisor._SIGNALS)
command = [sys.executable, "-c", {child!r}]
sys.exit(supervisor.Supervisor(command, {port}, timedelta(seconds={check})).run())
"""
SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


async def start(child: str, *, settled: float = 0, port: int = 9, check: float = 60):
    """A supervisor of this Python program; each of its children prints its process number."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RUN.format(child=child, settled=settled, port=port, check=check),
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def number(process) -> int:
    return int(await asyncio.wait_for(process.stdout.readline(), 20))


@pytest.mark.parametrize("settled", [0, 60])
async def test_a_killed_agent_is_started_again_and_a_signal_ends_both(settled):
    process = await start(SLEEPS, settled=settled)
    first = await number(process)
    os.kill(first, signal.SIGKILL)
    second = await number(process)
    assert second != first
    assert process.returncode is None
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def test_a_first_start_that_fails_ends_the_container_with_its_code():
    process = await start("import sys; print(0); sys.exit(7)", settled=60)
    assert await asyncio.wait_for(process.wait(), 20) == 7


async def test_a_signal_during_the_pause_ends_it():
    process = await start("import os; print(os.getpid(), flush=True); os._exit(3)")
    for _ in range(4):
        await number(process)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 20) in {0, 3, 128 + signal.SIGTERM}


async def test_an_agent_that_hangs_is_started_again():
    with_nobody_listening = 1  # a port that refuses counts as no answer
    process = await start(SLEEPS, port=with_nobody_listening, check=0.2)
    first = await number(process)
    assert await number(process) != first
    process.terminate()
    _, log = await process.communicate()
    assert b"did not answer 3 checks" in log


async def test_an_agent_that_answers_is_left_alone(make_gateway, client):
    gateway = make_gateway()
    async with gateway.agent() as agent:
        await gateway.healthy(client, agent)
        process = await start(SLEEPS, port=gateway.metrics_port, check=0.05)
        first = await number(process)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.stdout.readline(), timedelta(seconds=1).total_seconds())
        os.kill(first, 0)
        process.terminate()
        await process.wait()


async def test_the_real_agent_comes_back_under_its_supervisor(make_gateway, client):
    gateway = make_gateway()
    async with gateway.agent(module="moltbot_agent.supervisor") as supervisor:
        await gateway.healthy(client, supervisor)
        assert supervisor.returncode is None
        supervisor.terminate()
        assert await asyncio.wait_for(supervisor.wait(), 20) == 0
