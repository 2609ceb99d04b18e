"""The site file: what it may say, what sbatch is told of it, and which line is to blame."""

import pytest
import yaml

from ablation.errors import UserError
from ablation.schema import Resources
from ablation.site import Site, load_site, minutes, read_site, refused, sbatch_parameters


@pytest.fixture
def site(tmp_path):
    """Write a site file and read it."""

    def site(text):
        path = tmp_path / "site.yaml"
        path.write_text(text)
        return read_site(path)

    return site


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("account: me\npartiton: gpu\n", "2:1", "unknown key 'partiton'\n  Did you mean partition"),
        ("account: 12\n", "1:10", "account: input should be a valid string, got 12"),
        ("sbatch:\n  mail_user: a\n", "2:3", "Write mail-user."),
        ("sbatch:\n  --nice: 3\n", "2:3", "Write nice."),
        (
            "sbatch:\n  nice: 3\n  array: 1-3\n",
            "3:3",
            "sbatch.array: it is set for every job\n  Launch makes the array",
        ),
        ("sbatch: {output: /tmp/x}\n", "1:10", "keeps its jobs' output"),
        ("sbatch: {gres: 'gpu:1'}\n", "1:10", "gpu_option: gres and gpu_type here"),
        ("sbatch: {account: me}\n", "1:10", "Write account: beside sbatch"),
        ("sbatch: {exclusive: false}\n", "1:10", "Leave it out."),
        ("sbatch: {p: gpu}\n", "1:10", "Write the long name"),
        ("sbatch: {nice: [1]}\n", "1:16", "sbatch: its values are words, numbers or true, got [1]"),
        ("scratch: $SLURM_JOB_ID/x\n", "1:10", "would not find the checkpoints"),
        ("scratch: ${TMPDIR}/x\n", "1:10", "Name a folder that all nodes see"),
        ("cpus_per_gpu: 0\n", "1:15", "greater than or equal to 1, got 0"),
        ("gpu_option: gpus\n", "1:13", "'gpus-per-node' or 'gres', got 'gpus'"),
        ("max_job_hours: .inf\nrequeue: maybe\n", "2:10", "requeue"),
        ("- account\n", "1:1", "a site file is a mapping"),
        ("account: a\naccount: b\n", "2:1", "duplicate key 'account'"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_a_remedy(site, tmp_path, text, place, says):
    with pytest.raises(UserError) as error:
        site(text)
    assert str(error.value).startswith(f"{tmp_path / 'site.yaml'}:{place}: ")
    assert says in str(error.value)


def test_an_empty_file_is_an_empty_site(site):
    assert site("").model_dump() == site("# nothing yet\n").model_dump() == Site().model_dump()


def test_the_environment_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATION_SITE", str(tmp_path / "mine.yaml"))
    with pytest.raises(UserError, match=r"no such site file: .*mine\.yaml"):
        load_site()
    (tmp_path / "mine.yaml").write_text("account: me\n")
    assert load_site().account == "me"


def test_without_a_file_in_its_usual_place_nothing_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("ABLATION_SITE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_site() == Site()
    (tmp_path / ".config" / "ablation").mkdir(parents=True)
    (tmp_path / ".config" / "ablation" / "site.yaml").write_text("partition: gpu\n")
    assert load_site().partition == "gpu"


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (Site(), {"gpus_per_node": 2}),
        (Site(gpu_type="a100"), {"gpus_per_node": "a100:2"}),
        (Site(gpu_option="gres"), {"gres": "gpu:2"}),
        (Site(gpu_option="gres", gpu_type="a100"), {"gres": "gpu:a100:2"}),
    ],
)
def test_gpus_are_spelled_as_the_site_does(site, expected):
    parameters = sbatch_parameters(site, job_hours=1, gpus=2)
    assert {key: parameters[key] for key in ("gpus_per_node", "gres") if key in parameters} == expected
    none = sbatch_parameters(site, job_hours=1)
    assert "gres" not in none and "gpus_per_node" not in none


def test_a_gpu_brings_its_share_of_the_node():
    site = Site(cpus_per_gpu=6, memory_gb_per_gpu=60)
    parameters = sbatch_parameters(site, job_hours=1, gpus=4, tasks=4)
    assert (parameters["cpus_per_task"], parameters["ntasks_per_node"], parameters["mem"]) == (6, 4, "240GB")
    wish = sbatch_parameters(site, job_hours=1, gpus=1, cpus=16, memory_gb=100)
    assert (wish["cpus_per_task"], wish["mem"]) == (16, "100GB")


def test_a_worker_without_a_gpu_gets_its_threads_or_what_the_site_says():
    assert sbatch_parameters(Site(), job_hours=1, threads=3)["cpus_per_task"] == 3
    parameters = sbatch_parameters(Site(cpus=8, memory_gb=16, memory_gb_per_gpu=99), job_hours=1, threads=3)
    assert (parameters["cpus_per_task"], parameters["mem"]) == (8, "16GB")


def test_srun_is_told_the_cpus_too_and_the_sites_options():
    parameters = sbatch_parameters(Site(srun_args=["--mpi=none"]), job_hours=1, gpus=1)
    assert parameters["srun_args"] == ["--cpus-per-task=8", "--mpi=none"]


def test_a_job_is_no_longer_than_the_site_takes():
    assert minutes(Site(), 24) == 1440
    assert minutes(Site(max_job_hours=0.99), 24) == 59
    assert minutes(Site(max_job_hours=4), 0.1) == 6
    assert minutes(Site(), 0.0001) == 1


def test_requeueing_and_other_options_reach_the_script(tmp_path):
    from submitit import SlurmExecutor

    site = Site(requeue=False, sbatch={"exclusive": True, "nice": 10}, setup=["module load cuda"], wckey="mine")
    executor = SlurmExecutor(tmp_path)
    executor.update_parameters(**sbatch_parameters(site, job_hours=2, gpus=1, exports=["export A=1"]))
    script = executor._make_submission_file_text("work", "1")
    for line in ("--no-requeue", "--exclusive", "--nice=10", "--wckey=mine", "--gpus-per-node=1", "--time=120"):
        assert f"#SBATCH {line}\n" in script
    assert script.index("module load cuda") < script.index("export A=1") < script.index("srun")


def test_no_wckey_is_sent_unless_asked_for(tmp_path):
    from submitit import SlurmExecutor

    executor = SlurmExecutor(tmp_path)
    executor.update_parameters(**sbatch_parameters(Site(), job_hours=1))
    script = executor._make_submission_file_text("work", "1")
    assert "--wckey" not in script and "#SBATCH --requeue\n" in script


def test_folders_have_their_variables_filled_in(monkeypatch, site):
    monkeypatch.setenv("PLACE", "/fast")
    monkeypatch.delenv("NOWHERE", raising=False)
    one = site("scratch: $PLACE/runs\ndata: {cifar10: '${PLACE}/cifar', imagenet: $NOWHERE/in}\n")
    assert str(one.scratch_folder()) == "/fast/runs"
    assert str(one.data_root("cifar10")) == "/fast/cifar" and one.data_root("fashion_mnist") is None
    with pytest.raises(UserError, match=r"site\.yaml:2:.*NOWHERE"):
        one.data_root("imagenet")
    assert str(site("data: /all\n").data_root("anything")) == "/all"


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("sbatch: error: invalid partition specified: gpuu\nsbatch: error: Batch job submission failed: Invalid "
         "partition name specified", "site.yaml:1:12"),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
         "site.yaml:2:10"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", "site.yaml:3:6"),
        ("sbatch: unrecognized option '--nicee=3'\nTry \"sbatch --help\"", "site.yaml:4:10"),
        ("allocation failure: Requested node configuration is not available", "sweep.yaml:1:20"),
        ("sbatch: error: Invalid GRES specification (with and without type identification)", "sweep.yaml:1:20"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_line_that_is_to_blame(site, tmp_path, words, place):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(yaml.safe_dump({"resources": {"gpus": 9}}, default_flow_style=True))
    own = site("partition: gpuu\naccount: nobody\nqos: long\nsbatch: {nicee: 3}\n")
    error = refused(own, words, sweep)
    assert error.where == str(tmp_path / place)
    assert error.message.startswith("Slurm refused the submission: ") and "Try" not in error.message


def test_a_refusal_with_nothing_to_blame_is_said_all_the_same():
    assert str(refused(Site(), "")).startswith("Slurm refused the submission: it gave no reason")


def test_what_the_site_takes_covers_what_a_sweep_asks():
    asked = {"gpus", "cpus", "memory_gb", "threads", "job_hours"}
    assert asked <= set(Resources.model_fields), "sbatch_parameters takes these from a sweep's resources"
