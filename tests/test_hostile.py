"""Found by the fuzzers (tests/fuzz), and kept: what once wrote elsewhere, ran a program, filled the memory or broke."""

import gzip
import io
import json
import os
import shlex
import struct
import subprocess

import pytest
from PIL import Image

from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.image_folder.decode import Corrupt, jpeg_size, open_picture
from ablation.image_folder.files import WHOLE, File
from ablation.image_folder.index import open_index
from ablation.image_folder.stage import staged
from ablation.image_folder.tar import images_in
from ablation.job import WorkerJob
from ablation.launch.request import Request
from ablation.launch.slurm import job_script
from ablation.site import Site, read_site
from ablation.sources import read_small
from ablation.sweep import load_sweep
from ablation.yaml_file import parse_value
from analysis.markdown import to_markdown
from analysis.outside import read_outside
from analysis.results import read_results

NAMES = (
    "..",
    ".",
    ".hidden",
    "-rf",
    "a\n#SBATCH --uid=0",
    "a\ntouch canary",
    "$(touch canary)",
    "a;b",
    "a\x1b[2J",
    "x" * 200,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_sweeps_name_is_that_of_a_folder(name, small_sweep):
    """`...yaml` once put runs beside the folder of runs; a line break was a command of the job's script."""
    path = small_sweep.with_name(f"{name}.yaml")
    path.write_text(small_sweep.read_text())
    with pytest.raises(UserError, match="no name for a sweep"):
        load_sweep(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_tables_name_is_that_of_a_folder(name, tmp_path):
    path = tmp_path / f"{name}.csv"
    path.write_text("arm,seed,error\na,0,1\n")
    with pytest.raises(UserError, match="no name for a sweep"):
        read_outside(path)


@pytest.mark.parametrize("name", ["table 3", "übung", "a.b+c", "fashion_mnist-2"])
def test_usual_names_of_sweeps_are_taken(name, small_sweep):
    path = small_sweep.with_name(f"{name}.yaml")
    path.write_text(small_sweep.read_text())
    assert load_sweep(path).name == name


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "gpu_type", "python", "wckey"])
def test_a_site_files_words_stay_on_their_line(key, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(json.dumps({key: "gpu\ntouch canary"}))
    with pytest.raises(UserError, match="can't be printed"):
        read_site(path)


@pytest.mark.parametrize("option", ["nice=$(touch canary)", "a b", "Ä"])
def test_a_site_files_options_are_sbatchs(option, tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(json.dumps({"sbatch": {option: True}}))
    with pytest.raises(UserError, match="no option has such a name"):
        read_site(path)


def test_words_of_a_shell_are_words_in_a_job(small_sweep, tmp_path):
    """What bash makes of the script's lines less the work itself."""
    site = Site(partition="$(touch canary)", srun_args=["`touch canary`; touch canary"])
    script = job_script(Request(load_sweep(small_sweep), tmp_path / "$(touch canary)", "slurm", site), 1)
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "srun").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True)
    assert not (tmp_path / "canary").exists()
    assert all(len(shlex.split(line)) == 2 for line in script.splitlines() if line.startswith("#SBATCH"))


@pytest.mark.parametrize("text", ["[1", "`", "!!python/name:os.system", "2001-99-99", "9" * 5000, "[" * 3000, "\ud800"])
def test_an_option_that_is_no_value_is_said(text):
    with pytest.raises(UserError, match="not a YAML value"):
        parse_value(text)


@pytest.mark.parametrize("key", ["panels.².name", "panels.0.recipe.base"])
def test_an_option_that_leads_nowhere_is_said(key, small_sweep):
    with pytest.raises(UserError):
        load_sweep(small_sweep, [f"{key}=[1]"])


def test_an_endless_job_is_not_asked_for(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("max_job_hours: .inf\n")
    with pytest.raises(UserError, match="max_job_hours"):
        read_site(path)


@pytest.mark.parametrize("time", ["soon", "", "9" * 5000, "²"])
def test_a_job_whose_end_is_no_number_has_its_own(time, monkeypatch, tmp_path):
    for word in ("START", "END"):
        monkeypatch.setenv(f"SLURM_JOB_{word}_TIME", time)
    assert WorkerJob(tmp_path, "s", (), "", {}, minutes=10)._until()


def test_copies_of_tars_go_to_a_whole_path_only(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATION_STAGE", "~root/x")
    file = File("train/a/b.jpg", 0, tmp_path / "x.tar", 512, 10)
    assert "not the whole path" in staged([file], [])[2][0]
    assert not list(tmp_path.iterdir())


def fashion_with(folder, name, data):
    """Fashion-MNIST of ten images, one of its files another."""
    for part in ("train", "t10k"):
        images = bytes((0, 0, 8, 3)) + struct.pack(">3I", 10, 28, 28) + bytes(7840)
        labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 10) + bytes(range(10))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    (folder / name.removesuffix(".gz")).unlink()
    (folder / name).write_bytes(data)
    return read_small("fashion_mnist", folder)


def test_a_table_without_a_header_is_said(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("\nsome,0,12.5\n")
    with pytest.raises(UserError, match="no column arm or seed or error"):
        read_results(path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    bomb = gzip.compress(bytes(1 << 20), 9) * 400
    with pytest.raises(UserError, match="more than 256 MiB"):
        fashion_with(tmp_path, "train-images-idx3-ubyte.gz", bomb)


@pytest.mark.parametrize("damage", [b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff", b"\x1f\x8b\x08", b"", b"\0\0\x08\xff"])
def test_a_damaged_gzip_file_is_said(damage, tmp_path):
    with pytest.raises(UserError, match="damaged data file"):
        fashion_with(tmp_path, "train-images-idx3-ubyte.gz", damage)


def test_a_label_without_a_class_is_said(tmp_path):
    """It would be an index out of range in the middle of training."""
    labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 10) + bytes([255] * 10)
    with pytest.raises(UserError, match="not Fashion-MNIST"):
        fashion_with(tmp_path, "train-labels-idx1-ubyte", labels)


def opened(path, data, decoder="pil"):
    path.write_bytes(data)
    return open_picture(File("train/a/a.jpg", 0, path, WHOLE, len(data)), decoder)


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_postscript_in_an_images_place_starts_no_program(decoder, tmp_path, monkeypatch):
    """PIL would start Ghostscript for it."""
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail(f"started {a}"))
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(Corrupt):
        opened(tmp_path / "a.jpg", data, decoder)


def jpeg(width=24, height=20):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_a_picture_of_giant_dimensions_is_not_decoded(decoder, tmp_path):
    """torchvision would ask for 12 GB."""
    data = jpeg()
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(Corrupt, match=r"so large|exceeds limit"):
        opened(tmp_path / "a.jpg", data[:at] + b"\xff\xf0\xff\xf0" + data[at + 4 :], decoder)


@pytest.mark.parametrize("size", [(1, 1), (24, 20), (300, 7)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpegs_size_is_read_from_its_header(size, progressive):
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "JPEG", progressive=progressive, comment=b"\xff\xc0" + b"\xff" * 30)
    assert jpeg_size(buffer.getvalue()) == size


def test_a_pipe_in_an_images_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="no file"):
        open_picture(File("train/a/a.jpg", 0, tmp_path / "a.jpg", WHOLE, 0), "pil")


def test_an_image_of_a_terabyte_is_not_read(tmp_path):
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="no image is so large"):
        open_picture(File("train/a/a.jpg", 0, tmp_path / "a.jpg", WHOLE, 1 << 40), "pil")


@pytest.mark.parametrize(
    "line", ["9\tn1\tx.jpg\t512\t10", "0\tn1\t../x.jpg\t512\t10", "0\tn1\t/x.jpg\t512\t10", "0\tn1"]
)
def test_a_forged_index_of_a_tar_is_made_anew(line, tmp_path):
    import hashlib
    import tarfile

    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(jpeg())
        archive.addfile(info, io.BytesIO(jpeg()))
    index = tmp_path / "t.tar.index"

    def read():
        return open_index([tmp_path / "t.tar"], index, lambda tar: images_in(tar, "n1"))

    known = read()
    head = json.loads(index.read_bytes().partition(b"\n")[0])
    body = f"{line}\n".encode()
    index.write_bytes(json.dumps(head | {"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body)
    assert read() == known


def test_no_data_set_leads_out_of_its_root():
    for field in ("path", "class_list"):
        with pytest.raises(ValueError, match="below the data root"):
            Dataset.model_validate({"name": "folder", "path": "x", "classes": 2, field: "../x"})


def test_a_fence_in_a_command_does_not_end_the_code():
    text = to_markdown({"title": "t", "sweep": "s", "blocks": [{"kind": "code", "text": "a\n```\n<script>x</script>"}]})
    assert text.rstrip().endswith("\n````")
