"""Tables and other text files, as people and programs leave them."""

import unicodedata

import pandas as pd
import pytest

from kdrecon.errors import InputError
from kdrecon.storage.records import read_json, read_table, read_yaml

HERE = {"subject": str, "split": str}
PLAIN = "subject,split\nJürgen,train\nb,test\n"
NOT_NUMBERS = ["NA", "null", "None", "nan", "007", "1e3", "TRUE", "-", "1.0", "0x1F", "N/A", "", "=1+1"]


def read(path, content: str | bytes, columns=HERE, **options) -> pd.DataFrame:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, columns, **options)


@pytest.mark.parametrize(
    "content",
    {
        "as it should be": PLAIN,
        "byte order mark": PLAIN.encode("utf-8-sig"),
        "UTF-16": PLAIN.replace(",", "\t").encode("utf-16"),
        "UTF-16, the other order": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        "Windows-1252": PLAIN.replace(",", ";").encode("cp1252"),
        "decomposed": unicodedata.normalize("NFD", PLAIN),
        "semicolons": PLAIN.replace(",", ";"),
        "tabs": PLAIN.replace(",", "\t"),
        "told separator": "sep=;\r\n" + PLAIN.replace(",", ";"),
        "lines of Windows": PLAIN.replace("\n", "\r\n"),
        "lines of old Macs": PLAIN.replace("\n", "\r"),
        "no last line end": PLAIN.rstrip(),
        "blank rows": "\n" + PLAIN + "\n , \n,\n",
        "blanks round cells": PLAIN.replace(",", " , "),
        "no-break spaces": PLAIN.replace(",", "\u00a0,"),
        "capitals": PLAIN.replace("subject,split", "Subject,SPLIT"),
        "quoted": 'subject,split\n"Jürgen","train"\n"b","test"\n',
        "empty columns": PLAIN.replace("\n", ",,\n"),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_table_is_read_as_excel_and_others_write_it(content, tmp_path):
    table = read(tmp_path / "table.csv", content[1])
    assert table.to_dict("list") == {"subject": ["Jürgen", "b"], "split": ["train", "test"]}


def test_quoted_cells_keep_separators_quotes_and_lines(tmp_path):
    table = read(tmp_path / "table.csv", 'subject;split\n"a;b";"say ""x"""\n"two\nlines";c\n')
    assert table.to_dict("list") == {"subject": ["a;b", "two\nlines"], "split": ['say "x"', "c"]}


@pytest.mark.parametrize("subject", NOT_NUMBERS)
def test_text_stays_the_text_it_is(subject, tmp_path):
    pd.DataFrame({"subject": [subject, "b"], "split": "train"}).to_csv(tmp_path / "table.csv", index=False)
    assert read_table(tmp_path / "table.csv", HERE).subject.tolist() == [subject, "b"]


def test_numbers_are_read_where_they_are_expected_without_losing_a_bit(tmp_path):
    table = pd.DataFrame({"slice": [0, 1], "psnr": [0.1 + 0.2, float("nan")], "loss": [1e-300, float("inf")]})
    table.to_csv(tmp_path / "table.csv", index=False)
    read = read_table(tmp_path / "table.csv", {"slice": int, "psnr": float}, others=float)
    pd.testing.assert_frame_equal(read, table, check_exact=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column 'subject' .found: nothing.: expected subject, split"),
        ("subject,part\na,b\n", "lacks the column 'split' .found: subject, part."),
        ("subject,split,Subject\na,b,c\n", "has the column 'subject' twice: expected each once"),
        (f"subject,split,{'x' * 9999},{'x' * 9999}\n", "has the column 'x{76}... twice: expected each once"),
        ("subject,split\na\n", "line 2 has 1 cells: expected 2"),
        ("subject,split\na,b,c\n", "line 2 has 3 cells: expected 2"),
        ('subject,split\na,"b\n', "line 2 is not CSV"),
        (f"subject,split\na,{'b' * 131_073}\n", "line 2 is not CSV .field larger than field limit"),
        (b"subject,split\n\x81,b\n", "is not text that can be read: expected UTF-8"),
        (PLAIN.encode("utf-16-le"), "is not text that can be read"),
        (PLAIN.encode("utf-32"), "is not text that can be read"),
        (b"\x00\x01\x02\x03", "is not text that can be read"),
        ("subject,split,slices\na,b,²\n", "line 2 says slices '²': expected a number"),
        (f"subject,split,slices\na,b,{'9' * 5000}\n", "line 2 says slices '9{40}': expected a number"),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line(content, message, tmp_path):
    with pytest.raises(InputError, match=f"table.csv {message}") as caught:
        read(tmp_path / "table.csv", content, HERE, others=int)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("there", [False, True])
def test_no_file(there, tmp_path):
    path = tmp_path if there else tmp_path / "table.csv"
    with pytest.raises(InputError, match="cannot be read .no such file.: expected a text file"):
        read_table(path, {})


@pytest.mark.parametrize(
    ("text", "message"),
    {
        "alias": ("a: &x [1]\nb: *x", "found an alias, expected the value itself"),
        "bomb": ("\n".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]" for i in range(1, 30)), "found an alias"),
        "merged": ("<<: {a: 1}", "is not valid YAML"),
        "key twice": ("epochs: 1\nepochs: 2", "key 'epochs': expected text, and once"),
        "key twice within": ("switches: {alpha: 0, alpha: 1}", "key 'alpha': expected text, and once"),
        "number as key": ("5: 1", "key 5: expected text"),
        "list as key": ("[1]: 1", "key .*: expected text"),
        "no truth": ("a: !!bool x", "is not valid YAML"),
        "no number": ("a: !!int x", "is not valid YAML"),
        "no float": ("a: !!float x", "is not valid YAML"),
        "no date": ("a: !!timestamp x", "is not valid YAML"),
        "no day": ("a: 2020-99-99", "is not valid YAML"),
        "object": ("a: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        "digits": (f"a: {'9' * 5000}", "is not valid YAML"),
        "nesting": ("{a: " * 5000, "is not valid YAML"),
        "control character": ("a: \x07", "is not valid YAML"),
        "length": ("# \n" * 50_000, "has 150000 characters: expected at most 100000"),
    }.values(),
)
def test_yaml_that_is_no_plain_value_is_refused_in_one_line(text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(text, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml ") and len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_plain_yaml_is_read():
    text = "methods: [at]\nlr: 1.0e-3\nswitches: {alpha: 0.5}\nnone:\nacceleration: '4x'"
    expected = {"methods": ["at"], "lr": 1e-3, "switches": {"alpha": 0.5}, "none": None, "acceleration": "4x"}
    assert read_yaml(text, "") == expected


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\x00" * 20, b"\xff\xfe\x00", b"[]", b"[" * 9999, b"[" + b"9" * 5000 + b"]"]
)
def test_a_damaged_record_is_refused_with_the_remedy(content, tmp_path):
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(InputError, match="record.json .*delete it and run the same command again") as caught:
        read_json(tmp_path / "record.json")
    assert len(str(caught.value).splitlines()) == 1
