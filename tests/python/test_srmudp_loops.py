"""What surrounds the engine: loops, threads, garbage, forks, signals, interpreters that end. Nothing hangs or crashes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from autoprox import _srmudp, srmudp
from tests.python.srmudp_helpers import HOST, KEY, endpoint, pair, run_script, start_script, until

if sys.platform != "linux":
    pytest.skip("these look into /proc", allow_module_level=True)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def living() -> Counter[type]:
    """Our own objects, by their type."""
    ours = (
        srmudp.Connection,
        srmudp.Endpoint,
        srmudp.Listener,
        _srmudp.Connection,
        _srmudp.Endpoint,
        _srmudp.Listener,
    )
    return Counter(type(item) for item in gc.get_objects() if isinstance(item, ours))


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


# ---- Loops and threads -----------------------------------------------------------------------------------------------


async def test_another_loop_is_refused() -> None:
    async with pair() as (a, b):

        async def use(method: Callable[..., Coroutine[Any, Any, object]], *arguments: object) -> None:
            with pytest.raises(RuntimeError, match="another event loop"):
                await method(*arguments)
            with pytest.raises(RuntimeError, match="another event loop"):
                a._endpoint.open(HOST, 9, key=KEY)
            with pytest.raises(RuntimeError, match="another event loop"):
                a.set_callbacks(on_message=print)

        await b.send(b"waits")
        for method in (b.receive, b.receive_message, a.drain, a.established, a.close, a._endpoint.close):
            await asyncio.to_thread(asyncio.run, use(method))
        await asyncio.to_thread(asyncio.run, use(a.send, b"x"))
        await a.send(b"still there")
        assert (await a.receive(), await b.receive()) == (b"waits", b"still there")


async def test_without_a_loop_it_is_refused() -> None:
    async with pair() as (a, _):
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(a.send(b"x").send, None)


async def test_a_loop_blocked_for_long_loses_no_connection() -> None:
    config = {"liveness": 3.0, "liveness_in_flight": 1.0, "keepalive_interval": 1.0}
    async with pair(**config) as (a, b):
        changes: list[srmudp.StatusChange] = []
        a.set_callbacks(on_status=changes.append)
        b.set_callbacks(on_status=changes.append)
        await a.send(b"before")
        time.sleep(12)  # noqa: ASYNC251  # that is the point
        await b.send(b"after")
        assert (await b.receive(), await a.receive()) == (b"before", b"after")
        assert changes == []


def test_a_loop_that_closes_over_an_endpoint() -> None:
    source = """
        import asyncio
        from autoprox import srmudp

        async def main():
            endpoint = await srmudp.Endpoint.bind("127.0.0.1")
            connection = endpoint.open("127.0.0.1", 9, key="k")
            await connection.send(b"x")
            return endpoint, connection

        endpoint, connection = asyncio.run(main())

        async def later():
            try:
                await connection.send(b"x")
            except RuntimeError as error:
                print(type(error).__name__)

        asyncio.run(later())
        asyncio.run(later())
        async def again():
            async with await srmudp.Endpoint.bind("127.0.0.1"):
                print("bound")
        asyncio.run(again())
        """
    result = run_script(source)
    assert (result.returncode, result.stdout) == (0, "RuntimeError\nRuntimeError\nbound\n")
    assert "Error" not in result.stderr


def test_asyncio_and_uvloop_in_one_process() -> None:
    source = """
        import asyncio, threading, uvloop
        from autoprox import srmudp

        async def serve(ports, done):
            async with await srmudp.Endpoint.bind("127.0.0.1") as endpoint, endpoint.listen(key="k") as listener:
                ports.append(endpoint.local_address)
                connection = await listener.accept()
                async for data in connection:
                    await connection.send(data.upper())

        async def ask(address):
            async with await srmudp.Endpoint.bind("127.0.0.1") as endpoint:
                async with await endpoint.connect(*address, key="k") as connection:
                    await connection.send(b"hello")
                    print(await connection.receive())

        for one, other in ((asyncio.run, uvloop.run), (uvloop.run, asyncio.run)):
            ports = []
            thread = threading.Thread(target=one, args=(serve(ports, None),))
            thread.start()
            while not ports:
                pass
            other(ask(ports[0]))
            thread.join()
        """
    result = run_script(source)
    assert (result.returncode, result.stdout, result.stderr) == (0, "b'HELLO'\n" * 2, "")


def test_a_foreign_libuv_in_front_of_ours_works_or_is_an_import_error() -> None:
    """uvloop exports its own libuv, which the dynamic linker gives us when it is loaded so. Never half of each."""
    source = """
        import asyncio, os, sys
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
        import uvloop
        try:
            from autoprox import srmudp
        except ImportError as error:
            print(error)
            sys.exit()

        async def main():
            async with await srmudp.Endpoint.bind("127.0.0.1") as a, await srmudp.Endpoint.bind("127.0.0.1") as b:
                c, d = await asyncio.gather(a.connect(*b.local_address, key="k"), b.connect(*a.local_address, key="k"))
                await c.send(b"works")
                print(await d.receive())
                await c.close()

        asyncio.run(main())
        uvloop.run(main())
        """
    result = run_script(source)
    assert result.returncode == 0, result.stderr
    assert "libuv" in result.stdout or result.stdout == "b'works'\n" * 2


@pytest.mark.skipif(sys.version_info < (3, 13), reason="no promise before Python 3.13")
def test_sub_interpreters_side_by_side() -> None:
    source = """
        import _interpreters, sys, textwrap, threading

        CODE = textwrap.dedent('''
            import asyncio
            from autoprox import srmudp

            async def main():
                bind = srmudp.Endpoint.bind
                async with await bind("127.0.0.1") as a, await bind("127.0.0.1") as b, b.listen(key="k") as listener:
                    async with await a.connect(*b.local_address, key="k") as c, await listener.accept() as d:
                        await c.send(b"x")
                        assert await d.receive() == b"x"

            asyncio.run(main())
            ''')

        def live():
            interpreter = _interpreters.create()
            failure = _interpreters.exec(interpreter, CODE)
            _interpreters.destroy(interpreter)
            failures.append(failure)

        failures = []
        for _ in range(2):
            threads = [threading.Thread(target=live) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        print(failures)
        """
    result = run_script(source)
    assert (result.returncode, result.stdout) == (0, f"{[None] * 6}\n"), result.stderr


def test_no_memory_is_an_exception_and_no_more() -> None:
    """Each allocation of each call of the binding fails once."""
    pytest.importorskip("_testcapi")
    source = """
        import select
        import _testcapi
        from autoprox import _srmudp, srmudp

        config = srmudp.Config(close_timeout=0).for_engine()
        near, far = (_srmudp.Endpoint(None, "127.0.0.1", 0, **config) for _ in range(2))
        host, port = far.addresses()[0]
        listener = far.listen(b"k", "")
        opened = near.open(host, port, b"k", "")
        accepted = None
        while accepted is None:
            select.select([far.fileno()], [], [], 5)
            accepted = next((event[0] for event in far.poll(100) if event[1] == _srmudp.ACCEPTED), None)

        def fill(count):
            for number in range(count):
                near.rest()
                assert opened.send(bytes(5000 + number * 5000), number % 3) == 0
            while accepted.pending < count:
                select.select([far.fileno()], [], [], 5)
                far.poll(1000)

        def starve(call, allocations=40):
            failures = 0
            for number in range(allocations):
                _testcapi.set_nomemory(number, number + 1)
                try:
                    call()
                except MemoryError:
                    failures += 1
                finally:
                    _testcapi.remove_mem_hooks()
            return failures

        fill(100)
        kept = []
        starve(lambda: (near.rest(), opened.send("ü" * 100, 3)))
        assert starve(lambda: (far.rest(), accepted.receive()))
        assert starve(lambda: (far.rest(), accepted.receive_message()))
        assert starve(lambda: kept.append(accepted.take()))
        while (message := accepted.take()) is not None:
            kept.append(message)
        kept = [message for message in kept if message is not None]
        assert len(kept) > 20
        for message in kept:
            starve(lambda: (message.data, repr(message), hash(message)), 6)
        for message in kept[::2]:
            starve(message.consume, 4)
        for call in (opened.stats, near.stats, opened.sent, near.addresses):
            assert starve(call)
        assert starve(lambda: near.open(host, port, b"other", "").release())
        starve(lambda: near.listen(b"other", "").close())
        assert starve(lambda: _srmudp.Endpoint(None, host, 0, **config).close())
        lost = [near.open(host, port, b"other", str(number)) for number in range(20)]
        for connection in lost:
            near.rest()
            connection.send(b"lost", 0)
            connection.close(0)
        assert starve(lambda: (select.select([near.fileno()], [], [], 0.05), near.poll(5)))
        near.close()
        far.close()
        print("done")
        """
    result = run_script(source, timeout=50)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


def test_importing_starts_nothing() -> None:
    source = """
        import os, sys
        before = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
        from autoprox import srmudp
        import autoprox
        assert (len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))) == before
        assert "fastapi" not in sys.modules
        assert autoprox.create_app.__name__ == "create_app"
        """
    result = run_script(source)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_extension_that_is_not_built_says_how_to_get_it() -> None:
    source = """
        import sys
        sys.modules["autoprox._srmudp"] = None
        try:
            from autoprox import srmudp
        except ImportError as error:
            print(error)
        """
    result = run_script(source)
    assert result.returncode == 0
    assert "./dev setup" in result.stdout


def test_only_the_init_function_is_exported() -> None:
    library = _srmudp.__file__
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in listing.stdout.splitlines()] == ["PyInit__srmudp"]


# ---- Garbage ---------------------------------------------------------------------------------------------------------


async def test_a_forgotten_connection_is_closed_with_a_warning() -> None:
    async with endpoint() as near, endpoint() as far, far.listen(key=KEY) as listener:
        connection = await near.connect(*far.local_address, key=KEY)
        accepted = await listener.accept()
        with pytest.warns(ResourceWarning, match="Connection.*never closed"):
            del connection
        with pytest.raises(srmudp.Closed):
            await asyncio.wait_for(accepted.receive(), 5)


async def test_a_forgotten_endpoint_is_closed_with_a_warning() -> None:
    before = threads()
    bound = await srmudp.Endpoint.bind(HOST)
    address = bound.local_address
    with pytest.warns(ResourceWarning, match="Endpoint.*never closed"):
        del bound
    await until(lambda: threads() == before)
    async with await srmudp.Endpoint.bind(*address):
        pass


async def test_a_forgotten_listener_is_closed_with_a_warning() -> None:
    async with endpoint() as far:
        listener = far.listen(key=KEY)
        with pytest.warns(ResourceWarning, match="Listener.*never closed"):
            del listener


async def test_an_endpoint_forgotten_on_another_thread() -> None:
    before = threads()
    holder = [await srmudp.Endpoint.bind(HOST)]
    with pytest.warns(ResourceWarning, match="never closed"):
        await asyncio.to_thread(holder.clear)
    await until(lambda: threads() <= before + 1)


async def test_who_waits_is_not_forgotten() -> None:
    """A task that only waits for a message is kept alive by the loop, as one that waits for a socket is."""
    async with endpoint() as far, far.listen(key=KEY) as listener:
        seen: list[bytes] = []

        async def wait_for_one(endpoint: srmudp.Endpoint) -> None:
            async with endpoint, await endpoint.connect(*far.local_address, key=KEY) as connection:
                seen.append(await connection.receive())

        task = weakref.ref(asyncio.create_task(wait_for_one(await srmudp.Endpoint.bind(HOST))))
        connection = await listener.accept()
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0.01)
        assert task() is not None
        await connection.send(b"x")
        await connection.drain(5)
        await until(lambda: task() is None)
        assert seen == [b"x"]


async def cycle(far: srmudp.Endpoint, listener: srmudp.Listener, number: int) -> None:
    """One life of everything, closed in one of several ways."""
    async with await srmudp.Endpoint.bind(HOST) as near:
        a = await near.connect(*far.local_address, key=KEY)
        b = await listener.accept()
        b.set_callbacks(on_message=print if number % 4 == 1 else None, on_status=lambda _: None)
        await a.send(b"x" * 1000)
        if number % 4 != 1:
            await b.receive()
        if number % 4 < 2:
            await b.close()
        if number % 4 != 2:
            with_suppressed = asyncio.create_task(a.close())
            await asyncio.wait([with_suppressed])
            with_suppressed.exception()
    if number % 4 >= 2:
        await b.close()


@pytest.mark.timeout(300)
async def test_a_thousand_lives_leak_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async with endpoint() as far, far.listen(key=KEY) as listener:
        for number in range(40):
            await cycle(far, listener, number)
        gc.collect()
        before = descriptors(), threads()
        objects, lives = len(gc.get_objects()), living()
        for number in range(1000):
            await cycle(far, listener, number)
        await until(lambda: far.stats()["connections"] == 0)
        gc.collect()
        assert (descriptors(), threads()) == before
        assert len(gc.get_objects()) - objects < 200
        assert living() == lives


async def test_memory_of_messages_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async with pair() as (a, b):

        async def rally(count: int) -> None:
            for _ in range(count):
                await a.send(bytes(1 << 20))
                await b.receive()

        await rally(50)
        before = resident()
        await rally(300)
        assert resident() - before < 64 << 20


# ---- Ends of processes -----------------------------------------------------------------------------------------------


def test_leaving_with_everything_open() -> None:
    source = """
        import asyncio, sys
        from autoprox import srmudp

        async def main():
            global keep
            a = await srmudp.Endpoint.bind("127.0.0.1")
            b = await srmudp.Endpoint.bind("127.0.0.1")
            listener = b.listen(key="k")
            c = await a.connect(*b.local_address, key="k")
            d = await listener.accept()
            d.set_callbacks(on_message=lambda message: None, consume=False)
            await c.send(b"x")
            keep = a, b, listener, c, d
            if sys.argv[1] == "exception":
                raise ZeroDivisionError
            if sys.argv[1] == "exit":
                sys.exit(3)

        asyncio.run(main())
        """
    for how, code in (("return", 0), ("exception", 1), ("exit", 3)):
        result = run_script(source, how)
        assert result.returncode == code, result.stderr
        assert ("Traceback" in result.stderr) == (how == "exception")


def test_the_peer_hears_of_an_exit() -> None:
    source = """
        import asyncio, sys
        from autoprox import srmudp

        async def main():
            global keep
            endpoint = await srmudp.Endpoint.bind("127.0.0.1")
            keep = endpoint, await endpoint.connect("127.0.0.1", int(sys.argv[1]), key="k")

        asyncio.run(main())
        """

    async def serve() -> str | None:
        async with endpoint() as far, far.listen(key="k") as listener:
            process = start_script(source, str(far.local_address[1]))
            async with await listener.accept() as connection:
                with pytest.raises(srmudp.Closed):
                    await asyncio.wait_for(connection.receive(), 10)
                with process:
                    process.wait()
                return connection.reason

    assert asyncio.run(serve()) == "peer_closed"


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_ctrl_c(runner: str) -> None:
    source = """
        import asyncio, importlib, sys
        from autoprox import srmudp

        async def main():
            async with await srmudp.Endpoint.bind("127.0.0.1") as a, await srmudp.Endpoint.bind("127.0.0.1") as b:
                async with b.listen(key="k") as listener:
                    async with await a.connect(*b.local_address, key="k") as c, await listener.accept() as d:
                        print("ready", flush=True)
                        await c.receive()

        try:
            importlib.import_module(sys.argv[1]).run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    with start_script(source, runner) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[0] == "interrupted\n"
        assert process.returncode == 0


async def test_a_forked_child_is_dead_and_harms_nobody() -> None:
    async with pair() as (a, b):
        listener = b._endpoint.listen(key="other")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os._exit(_in_the_child(a, b, listener, writing))
        os.close(writing)
        with os.fdopen(reading) as report:
            lines = await asyncio.to_thread(report.read)
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        assert lines.split() == ["Closed"] * 7 + ["CLOSED", "CLOSED"]
        for number in range(100):
            await a.send(str(number))
            assert int(await b.receive()) == number
        listener.close()


def _in_the_child(a: srmudp.Connection, b: srmudp.Connection, listener: srmudp.Listener, writing: int) -> int:
    """Tries everything; anything but Closed is told by its name. The parent's loop isn't ours: a new one."""

    async def attempt(work: object) -> str:
        try:
            if asyncio.iscoroutine(work):
                await work
            else:
                assert callable(work)
                work()
        except srmudp.Closed:
            return "Closed"
        except BaseException as error:  # noqa: BLE001
            return repr(error).replace(" ", "_")
        return "nothing"

    async def main() -> list[str]:
        works = (
            a.send(b"x"), b.receive(), a.drain(), a.established(), listener.accept(),
            lambda: a._endpoint.open(HOST, 9, key=KEY), lambda: a.reconnect(),
        )  # fmt: skip
        answers = [await attempt(work) for work in works]
        await a.close()
        await a._endpoint.close()
        return [*answers, a.status, b.status]

    try:
        asyncio._set_running_loop(None)
        lines = asyncio.run(main())
        gc.collect()
        os.write(writing, "\n".join(lines).encode())
    except BaseException as error:  # noqa: BLE001
        os.write(writing, repr(error).encode())
        return 1
    return 0


def test_a_fork_can_bind_its_own() -> None:
    source = """
        import asyncio, os
        from autoprox import srmudp

        async def talk():
            async with await srmudp.Endpoint.bind("127.0.0.1") as a, await srmudp.Endpoint.bind("127.0.0.1") as b:
                c, d = await asyncio.gather(a.connect(*b.local_address, key="k"), b.connect(*a.local_address, key="k"))
                await c.send(b"x")
                assert await d.receive() == b"x"
                await c.close()

        async def main():
            async with await srmudp.Endpoint.bind("127.0.0.1"):
                child = os.fork()
                if child == 0:
                    asyncio._set_running_loop(None)
                    asyncio.run(talk())
                    os._exit(7)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        asyncio.run(main())
        """
    result = run_script(source)
    assert (result.returncode, result.stdout) == (0, "7\n"), result.stderr


def test_the_engines_thread_takes_no_signals() -> None:
    """A signal that it took would not interrupt the main thread's wait."""

    def interrupts_taken() -> list[bool]:
        lines = [
            line
            for status in Path("/proc/self/task").glob("*/status")
            for line in status.read_text().splitlines()
        ]
        masks = [int(line.split()[1], 16) for line in lines if line.startswith("SigBlk")]
        return [not mask & (1 << (signal.SIGINT - 1)) for mask in masks]

    async def main() -> None:
        before = interrupts_taken()
        async with endpoint():
            after = interrupts_taken()
            assert (len(after), sum(after)) == (len(before) + 1, sum(before))

    asyncio.run(main())
