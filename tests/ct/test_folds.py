import pyarrow as pa
import pytest

from corpus.manifest import short_hash
from ct.folds import folds_table, read_folds
from settings.errors import BadInput

NAMES = [f"ID_{n}" for n in range(6)]
OWNERS = ["p0001", "p0001", "p0002", "p0002", "p0003", "p0004"]
GROUP = {"p0001": "p0001", "p0002": "p0002", "p0003": "p0003", "p0004": "p0003"}
NEEDED = ["p0001", "p0002", "p0003"]
HASHED = pa.table({"id": [short_hash(name) for name in NAMES], "patient": OWNERS})
PLAIN = pa.table({"id": NAMES, "patient": OWNERS})


def rows(*lines: str) -> bytes:
    return "\n".join(lines).encode()


@pytest.mark.parametrize("index", [HASHED, PLAIN])
@pytest.mark.parametrize("hashed", [False, True])
def test_a_slice_is_known_by_its_id_or_its_hash_and_speaks_for_its_patient(index: pa.Table, hashed: bool) -> None:
    ids = [short_hash(name) if hashed else name for name in ("ID_1", "ID_2", "ID_3", "ID_5", "ID_elsewhere")]
    words = ["0", "2", "2", "hold-out", "1"]
    given = read_folds(rows("fold,id", *map(",".join, zip(words, ids, strict=True))), "f", index, GROUP, NEEDED, 3)
    assert given == ("fold", {"p0001": "0", "p0002": "2", "p0003": "hold-out"}, 1)


def test_what_is_shipped_is_read_back() -> None:
    of = {"p0001": "0", "p0003": "hold-out"}
    table = folds_table(HASHED, GROUP, "fold", of)
    assert table.column("patient").to_pylist() == ["p0001", "p0003", "p0004"]
    assert table.column("id").to_pylist() == [min(short_hash("ID_0"), short_hash("ID_1")), *map(short_hash, NAMES[4:])]
    for column in ("id", "patient"):
        pairs = zip(table[column].to_pylist(), table["fold"].to_pylist(), strict=True)
        given = read_folds(rows(f"{column},fold", *map(",".join, pairs)), "f", HASHED, GROUP, list(of), 2)
        assert given == ("fold", of, 0)


def test_hashes_of_digits_alone_stay_text() -> None:
    index = pa.table({"id": ["0000000000000012", "0000000000000120"], "patient": ["p0001", "p0002"]})
    content = rows("id,part", "0000000000000012,train", "0000000000000120,test")
    given = read_folds(content, "f", index, GROUP, [], 2)
    assert given.of == {"p0001": "train", "p0002": "test"}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["id,fold", "ID_0,0", "ID_1,1"], r"patient p0001 is in fold 0 and in fold 1: a leak"),
        (["patient,part", "p0003,train", "p0004,test"], r"p0003 and p0004 share slices.* train .* test: a leak"),
        (["id,fold", "ID_0,0", "ID_0,0"], f"id {short_hash('ID_0')} is listed 2 times"),
        (["id,fold", "ID_0,0", f"{short_hash('ID_0')},1"], f"id {short_hash('ID_0')} is listed 2 times"),
        (["patient,part", "p0001,train", "p0001,test"], "patient p0001 is listed 2 times"),
        (["patient,fold", "p0001,3"], "fold '3' does not exist; known: 0, 1, 2, hold-out"),
        (["patient,part", "p0001,dev"], "part 'dev' does not exist"),
        (["patient,fold", "p0001,0", "p0002,0"], r"none of 1 labelled patients \(first: p0003\)"),
        (["patient,fold", "ID_1,0"], "no patient in it is of this corpus"),
        (["slice,fold", "ID_1,0"], "needed are id or patient"),
        (["id,fold,part", "ID_1,0,test"], "fold or part"),
        (["id,fold"], "no CSV file"),
        (["id,fold", "ID_1"], "no CSV file"),
        ([], "no CSV file"),
    ],
)
def test_a_file_that_leaks_or_is_no_split_is_refused_in_one_line_without_ids(lines: list[str], says: str) -> None:
    with pytest.raises(BadInput, match=f"^data/folds.csv: .*{says}") as error:
        read_folds(rows(*lines), "data/folds.csv", HASHED, GROUP, NEEDED, 3)
    assert "\n" not in str(error.value) and "ID_" not in str(error.value)
