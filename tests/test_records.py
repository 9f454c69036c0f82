"""Tables and other text files, as people and programs leave them."""

import unicodedata

import pandas as pd
import pytest

from kdrecon.errors import InputError
from kdrecon.records import read_table

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
