"""Collectives are found in a program's text, and their sizes."""

import pytest

from benchmarks.hlo import Collective, collectives

LINES = {
    "  %a = f32[] all-reduce(f32[] %x), channel_id=1": [("all-reduce", 4)],
    "  %a = (f32[], s32[2,3]{1,0}) all-reduce(%x, %y)": [("all-reduce", 28)],
    "  %a = bf16[1024,224]{1,0:T(8,128)} all-gather(%x)": [("all-gather", 1024 * 224 * 2)],
    "  ROOT %a = (bf16[4]{0}, bf16[32]{0}) all-gather-start(%x)": [("all-gather", 64)],
    "  %a = (u8[6]{0}, u8[6]{0}, u32[], u32[]) collective-permute-start(%x)": [("collective-permute", 6)],
    "  %a = ((f32[4]{0:T(8,128)(2,1)}, f32[4]), (f32[32], f32[64])) all-gather-start(%x)": [("all-gather", 384)],
    "  %a = ((bf16[4], bf16[8]), (bf16[4], bf16[8]), u32[], u32[]) collective-permute-start(%x)": [
        ("collective-permute", 24)
    ],
    "  %a = ((f32[16]), f32[2]) reduce-scatter-start(%x)": [("reduce-scatter", 8)],
    '  %a = f32[2] add(%x), metadata={op_name="b = f32 all-reduce("}': [],
    "  %a = bf16[32]{0} all-gather-done(%x)": [],
    "  %a = f32[4]{0} add(f32[4] %all-reduce, f32[4] %y)": [],
    "  %a = pred[8]{0} all-to-all(%x)": [("all-to-all", 8)],
    "  %a = f32[2]{0} ragged-all-to-all(%x)": [("ragged-all-to-all", 8)],
    "  %a = f32[2]{0} reduce-scatter(%x)": [("reduce-scatter", 8)],
}


@pytest.mark.parametrize("line", LINES)
def test_an_instruction_is_read(line):
    assert list(collectives(line)) == [Collective(*pair) for pair in LINES[line]]


def test_every_instruction_counts():
    assert list(collectives("\n".join(LINES))) == [Collective(*pair) for pairs in LINES.values() for pair in pairs]
