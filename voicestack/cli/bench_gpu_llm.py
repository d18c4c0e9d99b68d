"""`voicestack bench gpu --part llm`: how soon does a language model answer, alone and under load?"""

from collections.abc import Sequence

from voicestack.aio.scope import Scope
from voicestack.cli.bench_gpu_load import Clients
from voicestack.cli.bench_gpu_plan import MODEL, Job, Plan, groups
from voicestack.cli.bench_gpu_run import START_GUESS_S, Bench
from voicestack.cli.bench_gpu_server import BenchedVllm
from voicestack.cli.bench_gpu_subject import Subject
from voicestack.cli.dialing import NoServer
from voicestack.core.errors import StageError


async def measure(bench: Bench, plan: Plan, methods: Sequence[str]) -> None:
    """Start the servers of the plan, group after group, and measure. Everything goes to the record."""
    for name, reason in plan.left_out.items():
        bench.record.not_run(f"speculation {name}", reason)
    for group in groups(plan.jobs, bench.amounts.at_once):
        names = ", ".join(job.launch.name for job in group)
        if not bench.record.has_time_for(names, START_GUESS_S[group[0].launch.device]):
            continue
        bench.console.print(f"[dim]starting {names}[/]", highlight=False)
        async with Scope() as scope:
            servers = [bench.server(job) for job in group]
            for server in servers:
                scope.start(server.run(), name=f"vllm {server.launch.name}")
            ready = [await _is_ready(bench, server) for server in servers]
            for job, server, is_ready in zip(group, servers, ready, strict=True):
                if is_ready:
                    await _measure_one(bench, job, server, methods)
                await server.stop()


async def _is_ready(bench: Bench, server: BenchedVllm) -> bool:
    try:
        await server.ready(bench.record.left_s)
    except NoServer as failed:
        bench.failed(server.launch.name, str(failed), server.tail)
        return False
    return True


async def _measure_one(bench: Bench, job: Job, server: BenchedVllm, methods: Sequence[str]) -> None:
    """Everything that is to be measured on one server. What fails is noted, and the next section tried."""
    clients = Clients(server.url, MODEL, clock=bench.clock)
    try:
        subject = Subject(bench, job, server, clients)
        await subject.begin()
        for section in job.sections:
            if server.has_ended:
                raise NoServer(f"it ended by itself: {server.why()}")
            if section == "ttft":
                await subject.ttft()
            elif section == "heartbeat":
                await subject.heartbeat()
            elif section == "sleep":
                await subject.sleep()
            elif section == "speculation" and job.method in methods:
                await subject.speculation()
    except (StageError, NoServer) as failed:
        bench.failed(f"{job.launch.name} in use", f"{failed} [{failed.code}]; {server.why()}", server.tail)
    finally:
        await clients.close()
