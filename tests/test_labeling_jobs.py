"""Each flag of the labeling command is heeded by a job, and a job that does nothing with one says so."""

import json

import pytest
from live_labeling import ROOT

CODE = """if True:
    import json, sys
    from absl import flags
    from rmjax import label
    from rmjax.errors import UserError
    from rmjax.labeling import jobs
    from rmjax.labeling.people import flags as people_flags

    def serve(job, tasks, sureness):
        made.append("serves")
        if job.scorer:
            made.append(job.scorer)
        if job.output == "new.jsonl":
            made.append(sureness(tasks()))

    def make_sureness(workdir, head):
        made.append(f"loads {workdir} {head}")
        return lambda tasks: f"sure of {tasks}"

    people_flags.serve = serve
    for arguments in json.loads(sys.stdin.read()):
        made = []
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["label", *arguments])
        try:
            made.append(jobs.checked_job().name)
            if "--run" in sys.argv:
                people_flags.run(lambda: "tasks", list, make_sureness)
        except UserError as error:
            made.append(str(error))
        print(json.dumps(made))
    here = [flag.name for module, defined in flags.FLAGS.flags_by_module_dict().items()
            if module.startswith("rmjax.labeling") for flag in defined]
    heeded = set().union(*map(jobs.heeded_by, jobs.Job))
    print(json.dumps([sorted(here), sorted(heeded)]))
"""


@pytest.fixture
def made(server):
    """What the command makes of flags: of each case the job, what it does, or what is wrong; at last, all flags."""

    def make(*cases: list[str], run: bool = False) -> list[list]:
        done = server.run("-c", CODE, *(["--run"] if run else []), given=json.dumps(cases))
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return make


COMMON = ["--tasks=t", "--dimension=d", "--output=o.jsonl"]
OPENED = ["--on_error=skip", "--data_dir=d", "--manual_dir=m"]
SCORER = ["--pairs=least_sure", "--pairs_per_task=2", "--scorer_workdir=w", "--scorer_head=h"]


def test_a_job_takes_its_own_flags_and_names_those_that_it_would_ignore(made):
    *found, (here, heeded) = made(
        [*COMMON, "--gold=g", "--store=s", "--strength", "--noexport", "--port=0", *SCORER],
        ["--export", "--output=o", "--store=s", "--judge=people"],
        ["--judge=openai", *COMMON, *OPENED, "--store=s", "--model=m", "--limit=3", "--nologprobs", "--dry_run"],
        ["--judge=rule", *COMMON, *OPENED, "--pattern=p", "--unwanted", "--tie_margin=1"],
        ["--report=r", "--data=a,b", "--gold=g", "--dimension=d", *OPENED],
        ["--judge=openai", *COMMON, *SCORER],
        ["--judge=rule", *COMMON, *SCORER],
        [*COMMON, *OPENED],
        [*COMMON, "--limit=3", "--constitution=c"],
        ["--judge=openai", *COMMON, "--strength", "--gold=g", "--annotators_per_pair=2"],
        ["--judge=rule", *COMMON, "--store=s"],
        ["--export", "--output=o", "--tasks=t"],
        ["--judge=rule", "--export", "--output=o"],
        ["--report=r", "--data=a", "--output=o", "--judge=people"],
        ["--report=r", "--data=a", "--pairs=round_robin"],
    )
    people, ai = "only with --judge=people", "does nothing with --judge=openai"
    assert found == [
        ["PEOPLE"], ["EXPORT"], ["AI"], ["RULE"], ["REPORT"], ["AI"], ["RULE"], ["PEOPLE"],
        ["--constitution does nothing with --judge=people, only with --judge=openai; "
         "--limit does nothing with --judge=people, only with --judge=openai"],
        [f"--annotators_per_pair {ai}, {people}; --gold {ai}, {people} or --report; --strength {ai}, {people}"],
        ["--store does nothing with --judge=rule, only with --judge=people or --export or --judge=openai"],
        ["--tasks does nothing with --export, only with --judge=people or --judge=openai or --judge=rule"],
        ["--export does nothing with --judge=rule, only with --judge=people or --export"],
        ["--judge does nothing with --report, only with --judge=people or --export or --judge=openai or --judge=rule; "
         "--output does nothing with --report, only with --judge=people or --export or --judge=openai or --judge=rule"],
        ["--pairs does nothing with --report, only with --judge=people or --judge=openai or --judge=rule"],
    ]  # fmt: skip
    assert here == heeded
    assert len(here) > 40


def test_a_model_is_loaded_only_to_choose_pairs_and_told_from_others_by_its_place(made):
    place = str(ROOT / "w")
    *found, _ = made(
        [*COMMON, *SCORER],
        ["--tasks=t", "--dimension=d", "--output=new.jsonl", *SCORER],
        [*COMMON, "--pairs=least_sure", f"--scorer_workdir={place}/"],
        [*COMMON, "--pairs=least_sure", "--scorer_workdir=gs://bucket/w"],
        [*COMMON, "--pairs=least_sure", "--scorer_workdir=hf://owner/name"],
        [*COMMON, "--scorer_workdir=w"],
        [*COMMON, "--pairs=least_sure", "--scorer_head=h"],
        [*COMMON, "--gold_rate=0.2", "--gold=g"],
        [*COMMON, "--gold_rate=0.2"],
        ["--export", "--output=o.txt"],
        run=True,
    )
    assert found == [
        ["PEOPLE", "serves", f"{place} --scorer_head=h"],
        ["PEOPLE", "serves", f"{place} --scorer_head=h", "loads w h", "sure of tasks"],
        ["PEOPLE", "serves", place],
        ["PEOPLE", "serves", "gs://bucket/w"],
        ["PEOPLE", "serves", "hf://owner/name"],
        ["PEOPLE", "--scorer_workdir is 'w'; only --pairs=least_sure chooses by a model"],
        ["PEOPLE", "--scorer_head is 'h'; it names a head of the model of --scorer_workdir, which is missing"],
        ["PEOPLE", "serves"],
        ["PEOPLE", "--gold_rate is given without the --gold whose pairs come at that rate"],
        ["EXPORT", "o.txt: found the suffix of another format; right would be .jsonl or .jsonl.gz"],
    ]
