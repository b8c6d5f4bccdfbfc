"""Published files in every format, from files, globs and folders; what can't be used, and what is there twice."""

import dataclasses
import gzip
import json

import numpy as np
import pyarrow
import pytest
from benchmark_cases import reward_bench_2_row, reward_bench_row, rm_bench_row
from pyarrow import parquet

from rmjax.config import OnError
from rmjax.evaluation import reward_bench, reward_bench_2, rm_bench
from rmjax.evaluation.benchmark_rows import read_benchmark
from rmjax.evaluation.benchmark_rule import base_name
from rmjax.preferences.record import FileError, RowError


def write(path, rows) -> str:
    """The rows in the format that the file's name says."""
    lines, array = "".join(json.dumps(row) + "\n" for row in rows).encode(), json.dumps(rows, indent=1).encode()
    if path.name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines if ".jsonl" in path.name else array))
    else:
        path.write_bytes(lines if path.name.endswith(".jsonl") else array)
    return str(path)


ROWS = {
    reward_bench: [reward_bench_row(np.random.default_rng(seed), "hep-go") for seed in range(3)],
    reward_bench_2: [
        reward_bench_2_row(np.random.default_rng(0), "Math"),
        reward_bench_2_row(np.random.default_rng(1), "Ties", key="ref:1"),
        reward_bench_2_row(np.random.default_rng(2), "Ties", key="tied:1", right=4),
    ],
    rm_bench: [rm_bench_row(np.random.default_rng(seed), "safety-refuse") for seed in range(3)],
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet"])
@pytest.mark.parametrize("benchmark", ROWS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_format_holds_the_same_rows(tmp_path, benchmark, suffix):
    path = write(tmp_path / f"rows{suffix}", ROWS[benchmark])
    found = read_benchmark([path], benchmark.RULE)
    expected = read_benchmark([write(tmp_path / "expected.jsonl", ROWS[benchmark])], benchmark.RULE)
    assert found.rows == tuple(_at(row, here.origin) for row, here in zip(expected.rows, found.rows, strict=True))
    assert len(found.rows) == 3
    assert all(row.origin.startswith(f"{path}, ") for row in found.rows)
    assert not found.left_out


def _at(row, origin):
    return dataclasses.replace(row, origin=origin)


def test_a_folder_a_glob_and_files_are_the_same(tmp_path):
    rows = ROWS[reward_bench]
    files = [write(tmp_path / f"filtered-{i}.parquet", rows[i : i + 1]) for i in range(3)]
    write(tmp_path / "raw-0.parquet", rows)
    (tmp_path / "README.md").write_text("no rows")
    found = [
        read_benchmark(paths, reward_bench.RULE).rows
        for paths in ([str(tmp_path)], [str(tmp_path / "filtered-*")], files)
    ]
    assert found[0] == found[1] == found[2]
    assert [base_name(row.origin) for row in found[0]] == [f"filtered-{i}.parquet, row 1" for i in range(3)]


def test_the_files_of_all_domains_are_one_benchmark(tmp_path):
    for domain in rm_bench.RULE.published:
        write(tmp_path / f"{domain}_filtered.json", [rm_bench_row(np.random.default_rng(0), None)])
    found = read_benchmark([str(tmp_path)], rm_bench.RULE)
    assert sorted(row.subset for row in found.rows) == sorted(rm_bench.RULE.published)


def test_a_bad_row_is_an_error_that_says_where_or_is_counted(tmp_path):
    good = ROWS[reward_bench][0]
    path = write(tmp_path / "rows.jsonl", [good, {**good, "subset": "x"}, {**good, "chosen": 1}, {**good, "prompt": 2}])
    for on_error in (OnError.DEFAULT, OnError.ERROR):
        with pytest.raises(RowError, match=r"rows\.jsonl, line 2: field 'subset': unknown subset: found 'x'"):
            read_benchmark([path], reward_bench.RULE, on_error=on_error)
    found = read_benchmark([path], reward_bench.RULE, on_error=OnError.SKIP)
    assert len(found.rows) == 1
    assert found.left_out == {"unknown subset": 1, "wrong type": 2}


def test_a_line_that_is_no_row_is_an_error_or_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[reward_bench][0]) + "\n{\n")
    with pytest.raises(RowError, match=r"rows\.jsonl, line 2: invalid JSON"):
        read_benchmark([str(path)], reward_bench.RULE)
    assert read_benchmark([str(path)], reward_bench.RULE, on_error=OnError.SKIP).left_out == {"invalid JSON": 1}


def test_an_id_of_ties_is_there_once(tmp_path):
    rows = ROWS[reward_bench_2]
    path = write(tmp_path / "rows.jsonl", [*rows, {**rows[1], "id": "ref:01"}])
    with pytest.raises(RowError, match=r"line 4: field 'id': repeated id: found 'ref:1', which .*line 2 has too"):
        read_benchmark([path], reward_bench_2.RULE)


def test_files_that_can_not_be_read(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_benchmark([str(tmp_path / "none.jsonl")], reward_bench.RULE)
    with pytest.raises(FileError, match="a folder without any"):
        read_benchmark([str(tmp_path)], reward_bench.RULE)
    path = write(tmp_path / "rows.jsonl", ROWS[reward_bench])
    with pytest.raises(FileError, match="the file 2 times in --data"):
        read_benchmark([path, str(tmp_path)], reward_bench.RULE)
